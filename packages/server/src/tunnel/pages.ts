import type { LocalResponse, RequestInfo } from "./decision.js";
import type { Notice } from "./notices.js";

/** Seconds that programs are told to wait. */
const retryAfter = 5;
/** Seconds after which the page reloads: a resume usually takes less than one, and a person is looking. */
const reloadAfter = 2;

/**
 * A notice as a response: HTML for browsers, for programs
 * `{"error": {"code": "devbox_starting", "message": "…"}, "request_id": "…"}`.
 */
export function respond(
	notice: Notice,
	requestId: string,
	request: Pick<RequestInfo, "method" | "upgrade" | "header">,
): LocalResponse {
	const html = wantsHtml(request);
	return {
		kind: "respond",
		requestId,
		status: notice.status,
		headers: [
			["content-type", html ? "text/html; charset=utf-8" : "application/json; charset=utf-8"],
			["cache-control", "no-store"],
			["content-security-policy", "default-src 'none'; style-src 'unsafe-inline'"],
			["referrer-policy", "no-referrer"],
			["x-content-type-options", "nosniff"],
			["x-runloop-request-id", requestId],
			...(notice.retry ? [["retry-after", String(retryAfter)] as const] : []),
			...(notice.headers ?? []),
		],
		body: html ? page(notice, requestId, reloads(notice, request.method)) : json(notice, requestId),
	};
}

function wantsHtml(request: Pick<RequestInfo, "upgrade" | "header">): boolean {
	return !request.upgrade && /\btext\/html\b/i.test(request.header("accept") ?? "");
}

/** Reloading the answer to a POST would send a GET, not the form again: only pages that were asked for with GET reload. */
function reloads(notice: Notice, method: string): boolean {
	return notice.retry === true && (method === "GET" || method === "HEAD");
}

function json(notice: Notice, requestId: string): string {
	return `${JSON.stringify({ error: { code: notice.code, message: notice.message }, request_id: requestId })}\n`;
}

const style = `
:root{color-scheme:light dark;--ink:#1c2430;--dim:#5c6675;--paper:#f6f7f9;--card:#fff;--line:#e1e5ea;--accent:#2563eb}
@media (prefers-color-scheme:dark){:root{--ink:#e6e9ee;--dim:#98a2b0;--paper:#11151b;--card:#191f27;--line:#2b333e;--accent:#6ea0ff}}
body{margin:0;min-height:100vh;display:grid;place-items:center;background:var(--paper);color:var(--ink);font:16px/1.55 system-ui,sans-serif}
main{box-sizing:border-box;width:min(34rem,calc(100vw - 2rem));margin:1rem;padding:2rem;background:var(--card);border:1px solid var(--line);border-radius:12px}
h1{margin:0 0 .5rem;font-size:1.35rem;line-height:1.3}
p{margin:0 0 1.25rem;overflow-wrap:anywhere}
footer{color:var(--dim);font:.8rem/1.5 ui-monospace,monospace;overflow-wrap:anywhere}
.bar{height:3px;margin:0 0 1.25rem;border-radius:2px;background:linear-gradient(90deg,var(--line),var(--accent),var(--line)) 0/200% 100%;animation:slide 1.6s linear infinite}
@keyframes slide{to{background-position:-200% 0}}
@media (prefers-reduced-motion:reduce){.bar{animation:none}}`;

/** Works with scripts off, and the CSP allows none. */
function page(notice: Notice, requestId: string, reload: boolean): string {
	return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
${reload ? `<meta http-equiv="refresh" content="${reloadAfter}">\n` : ""}<title>${escapeHtml(notice.title)}</title>
<style>${style}
</style>
</head>
<body>
<main>
<h1>${escapeHtml(notice.title)}</h1>
${reload ? '<div class="bar"></div>\n' : ""}<p>${escapeHtml(notice.message)}${reload ? " This page reloads by itself." : ""}</p>
<footer>${notice.status} ${escapeHtml(notice.code)} · request ${escapeHtml(requestId)}</footer>
</main>
</body>
</html>
`;
}

const entities: Readonly<Record<string, string>> = {
	"&": "&amp;",
	"<": "&lt;",
	">": "&gt;",
	'"': "&quot;",
	"'": "&#39;",
};

export function escapeHtml(text: string): string {
	return text.replace(/[&<>"']/g, (character) => entities[character]!);
}
