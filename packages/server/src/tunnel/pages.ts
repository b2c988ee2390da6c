import type { LocalResponse, RequestInfo } from "./decision.js";
import type { Field } from "./forwarding.js";
import type { Notice } from "./notices.js";

/** Seconds that programs are told to wait. */
const retryAfter = 5;
/** Seconds after which the page reloads: a resume usually takes less than one, and a person is looking. */
const reloadAfter = 2;
const policy = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'";

/** Who reads a response of ours. */
export interface Reader {
	/** A person, with a browser. */
	readonly html: boolean;
	/** Reloading the answer to a POST would send a GET, not the form again: only pages that were asked for with GET reload. */
	readonly reloads: boolean;
}

/** Also who sent what could not be understood. */
const program: Reader = { html: false, reloads: false };

export function readerOf(request: Pick<RequestInfo, "method" | "upgrade" | "header">): Reader {
	if (request.upgrade || !/\btext\/html\b/i.test(request.header("accept") ?? "")) return program;
	return { html: true, reloads: request.method === "GET" || request.method === "HEAD" };
}

/** Fields of every response of ours: none is to be kept, nor does a page tell where somebody came from. */
export function ownFields(requestId: string): readonly Field[] {
	return [
		["cache-control", "no-store"],
		["referrer-policy", "no-referrer"],
		["x-content-type-options", "nosniff"],
		["x-runloop-request-id", requestId],
	];
}

/**
 * A notice as a response: HTML for browsers, for programs
 * `{"error": {"code": "devbox_starting", "message": "…"}, "request_id": "…"}`.
 *
 * @param form HTML for the page; such a page is shown in no frame, where somebody could be led to type or click. What
 * forms lead to is not restricted: Chromium would hold the app's own redirects, after the one that ends a sign-in, to it.
 */
export function respond(
	notice: Notice,
	requestId: string,
	reader: Reader = program,
	fields: readonly Field[] = [],
	form = "",
): LocalResponse {
	const { html } = reader;
	return {
		kind: "respond",
		requestId,
		status: notice.status,
		headers: [
			["content-type", html ? "text/html; charset=utf-8" : "application/json; charset=utf-8"],
			["content-security-policy", form === "" ? policy : `${policy}; frame-ancestors 'none'`],
			...ownFields(requestId),
			...(notice.retry ? [["retry-after", String(retryAfter)] as const] : []),
			...(notice.headers ?? []),
			...fields,
		],
		body: html ? page(notice, requestId, notice.retry === true && reader.reloads, form) : json(notice, requestId),
	};
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
form{display:grid;gap:.5rem;margin:0 0 1.25rem}
label{font-size:.9rem;color:var(--dim)}
input,button{box-sizing:border-box;width:100%;padding:.6rem .75rem;font:inherit;border:1px solid var(--line);border-radius:8px}
input{background:var(--paper);color:inherit}
button{border-color:var(--accent);background:var(--accent);color:var(--card);cursor:pointer}
footer{color:var(--dim);font:.8rem/1.5 ui-monospace,monospace;overflow-wrap:anywhere}
.bar{height:3px;margin:0 0 1.25rem;border-radius:2px;background:linear-gradient(90deg,var(--line),var(--accent),var(--line)) 0/200% 100%;animation:slide 1.6s linear infinite}
@keyframes slide{to{background-position:-200% 0}}
@media (prefers-reduced-motion:reduce){.bar{animation:none}}`;

/** Works with scripts off, and the CSP allows none. */
function page(notice: Notice, requestId: string, reload: boolean, form: string): string {
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
${form}<footer>${notice.status} ${escapeHtml(notice.code)} · request ${escapeHtml(requestId)}</footer>
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
