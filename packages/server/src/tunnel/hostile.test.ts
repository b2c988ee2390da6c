import { once } from "node:events";
import { createServer } from "node:http";
import { connect as connectHttp2, type OutgoingHttpHeaders } from "node:http2";
import { connect } from "node:net";
import { describe, expect, onTestFinished, test } from "vitest";
import { hostOf, listen, openDoor, rawApp, send, sendForText, sendRaw, until } from "./door.fixture.js";

const secured = { authMode: "authenticated", token: "s3cret" } as const;
const AUTH = "X-Runloop-Tunnel-Authorization: Bearer s3cret";

/** A private box that writes down every request that reaches it, as Node reads it. */
async function privateBox() {
	const reached: string[] = [];
	const port = await listen(
		createServer((request, response) => {
			let body = "";
			request.setEncoding("latin1").on("data", (part: string) => {
				body += part;
			});
			request.on("end", () => {
				reached.push(`${request.method} ${request.url} ${body}`.trim());
				response.end("box");
			});
		}),
	);
	const door = await openDoor({ target: secured });
	return { reached, port, door };
}

const statuses = (text: string) => [...text.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map(([, status]) => Number(status));

describe("a smuggled request never reaches a private box", () => {
	/** `{host}` is the box's name. Each ends in, or hides, a request for /smuggled that carries no credential. */
	const SMUGGLED = "GET /smuggled HTTP/1.1\r\nHost: {host}\r\nX: ";
	const post = (framing: string, body: string) =>
		`POST / HTTP/1.1\r\nHost: {host}\r\n${AUTH}\r\n${framing}\r\n\r\n${body}`;
	const chunked = (size: number) => `${size.toString(16)}\r\n`;
	const refused: [name: string, request: string][] = [
		["CL.TE", post("Content-Length: 80\r\nTransfer-Encoding: chunked", `0\r\n\r\n${SMUGGLED}`)],
		["TE.CL", post("Transfer-Encoding: chunked\r\nContent-Length: 4", `5c\r\n${SMUGGLED}\r\n0\r\n\r\n`)],
		["CL.CL", post("Content-Length: 0\r\nContent-Length: 60", SMUGGLED)],
		["two lengths in one field", post("Content-Length: 0, 60", SMUGGLED)],
		[
			"TE.TE, the second one unknown",
			post("Transfer-Encoding: chunked\r\nTransfer-Encoding: x", `0\r\n\r\n${SMUGGLED}`),
		],
		["TE: identity, chunked", post("Transfer-Encoding: identity, chunked", `0\r\n\r\n${SMUGGLED}`)],
		["TE with a space before the colon", post("Transfer-Encoding : chunked\r\nContent-Length: 0", SMUGGLED)],
		["TE with a vertical tab", post("Transfer-Encoding:\x0bchunked\r\nContent-Length: 0", SMUGGLED)],
		["TE with a trailing form feed", post("Transfer-Encoding: chunked\x0c\r\nContent-Length: 0", SMUGGLED)],
		["TE on a folded line", post("Transfer-Encoding:\r\n chunked\r\nContent-Length: 0", SMUGGLED)],
		["TE behind a bare LF", post("X: y\nTransfer-Encoding: chunked\r\nContent-Length: 0", SMUGGLED)],
		["TE behind a bare CR", post("X: y\rTransfer-Encoding: chunked\r\nContent-Length: 0", SMUGGLED)],
		["TE behind a NUL", post("X: y\0\r\nTransfer-Encoding: chunked", `0\r\n\r\n${SMUGGLED}`)],
		["TE quoted", post('Transfer-Encoding: "chunked"\r\nContent-Length: 0', SMUGGLED)],
		["TE in HTTP/1.0", post("Transfer-Encoding: chunked", `0\r\n\r\n${SMUGGLED}`).replace("HTTP/1.1", "HTTP/1.0")],
		["Connection that drops the length", post("Connection: content-length\r\nContent-Length: 60", SMUGGLED)],
		["a chunk extension with a bare LF", post("Transfer-Encoding: chunked", `1;a\nx\r\n0\r\n\r\n${SMUGGLED}`)],
		["a chunk extension with a bare CR", post("Transfer-Encoding: chunked", `1;a\rx\r\n0\r\n\r\n${SMUGGLED}`)],
		["a chunk with a longer tail", post("Transfer-Encoding: chunked", `1\r\nxyz\r\n0\r\n\r\n${SMUGGLED}`)],
		[
			"a chunk size that overflows",
			post("Transfer-Encoding: chunked", `${"f".repeat(16)}1\r\nx\r\n0\r\n\r\n${SMUGGLED}`),
		],
		["a signed chunk size", post("Transfer-Encoding: chunked", `+1\r\nx\r\n0\r\n\r\n${SMUGGLED}`)],
		["a last chunk ended by bare LFs", post("Transfer-Encoding: chunked", `0\n\n${SMUGGLED}`)],
	];
	test.each(refused)("%s: one refusal, then the connection's end", async (_name, request) => {
		const { reached, port, door } = await privateBox();
		const text = await sendRaw(door, `${request}\r\n\r\n`.replaceAll("{host}", hostOf(port)));
		expect(statuses(text)).toEqual([400]);
		expect(reached).toEqual([]);
	});

	test.each([
		[
			"in a chunked body",
			"Transfer-Encoding: chunked",
			(body: string) => `${chunked(body.length)}${body}\r\n0\r\n\r\n`,
		],
		["in a body with a length", undefined, (body: string) => body],
		[
			"in a chunk that an extension precedes",
			"Transfer-Encoding: chunked",
			(body: string) => `${chunked(body.length).replace("\r\n", ';x="0"\r\n')}${body}\r\n0\r\n\r\n`,
		],
	])("%s it is the body of the request that was let in, and nothing else", async (_where, framing, frame) => {
		const { reached, port, door } = await privateBox();
		const hidden = `GET /smuggled HTTP/1.1\r\nHost: ${hostOf(port)}\r\n\r\n`;
		const head = post(`${framing ?? `Content-Length: ${hidden.length}`}\r\nConnection: close`, "");
		const text = await sendRaw(door, head.replace("{host}", hostOf(port)) + frame(hidden));
		expect(statuses(text)).toEqual([200]);
		expect(reached).toEqual([`POST / ${hidden.trim()}`]);
	});

	test("pipelined behind one with a credential it gets its own 401", async () => {
		const { reached, port, door } = await privateBox();
		const get = (path: string, fields: string) => `GET ${path} HTTP/1.1\r\nHost: ${hostOf(port)}\r\n${fields}\r\n`;
		const text = await sendRaw(
			door,
			get("/a", `${AUTH}\r\n`) + get("/smuggled", "") + get("/b", `${AUTH}\r\nConnection: close\r\n`),
		);
		expect(statuses(text)).toEqual([200, 401, 200]);
		expect(reached).toEqual(["GET /a", "GET /b"]);
	});

	test("behind the body of a request that is refused it is not begun", async () => {
		const { reached, port, door } = await privateBox();
		const body = `GET /smuggled HTTP/1.1\r\nHost: ${hostOf(port)}\r\n${AUTH}\r\n\r\n`;
		const text = await sendRaw(
			door,
			`POST / HTTP/1.1\r\nHost: ${hostOf(port)}\r\nContent-Length: ${body.length}\r\nConnection: close\r\n\r\n${body}`,
		);
		expect(statuses(text)).toEqual([401]);
		expect(reached).toEqual([]);
	});

	test("on a connection that another client left in the middle of its upload it is not the rest of that", async () => {
		const { reached, port, door } = await privateBox();
		const first = connect(door.port, "127.0.0.1").on("error", () => {});
		onTestFinished(() => void first.destroy());
		first.write(post("Content-Length: 1000", "half").replace("{host}", hostOf(port)));
		await until(() => door.tunnel.counts.live.request === 1);
		first.resetAndDestroy();
		const headers = { "x-runloop-tunnel-authorization": "Bearer s3cret" };
		expect(await sendForText(door, port, { path: "/second", headers })).toBe("box");
		expect(reached).toEqual(["GET /second"]);
	});

	test.each<[name: string, headers: OutgoingHttpHeaders]>([
		["a line break in a value", { "x-a": "b\r\ncontent-length: 0\r\n\r\nGET /smuggled HTTP/1.1" }],
		["a line break in the path", { ":path": "/ HTTP/1.1\r\nHost: x\r\n\r\nGET /smuggled" }],
		["a space in the path", { ":path": "/ HTTP/1.1" }],
		["a line break in the authority", { ":authority": "x\r\nx-a: b" }],
		["a request in the method", { ":method": "GET /smuggled HTTP/1.1\r\nX: " }],
	])("nor out of HTTP/2: %s", async (_name, headers) => {
		const { reached, port } = await privateBox();
		const door = await openDoor({ http2: true, target: secured });
		const session = connectHttp2(`http://127.0.0.1:${door.port}`);
		session.on("error", () => {});
		onTestFinished(() => session.destroy());
		const status = await new Promise<number>((resolve, reject) => {
			try {
				const all = { ":authority": hostOf(port), "x-runloop-tunnel-authorization": "Bearer s3cret", ...headers };
				const stream = session.request(all).on("error", () => resolve(0));
				stream.on("response", (answer) => resolve(answer[":status"] ?? 0)).resume();
				stream.once("close", () => resolve(0));
			} catch (error) {
				reject(error as Error);
			}
		}).catch(() => 0);
		// nghttp2 leaves a field out whose value is invalid; the request without it is sound.
		expect([0, 200, 400, 404]).toContain(status);
		expect(reached).toEqual(status === 200 ? ["GET /"] : []);
	});
});

describe("a tunnel reaches its own box and nothing else", () => {
	/** What somebody wants to be led to: another server on the machine that the tunnel runs on. */
	async function elsewhere() {
		let connections = 0;
		const port = await rawApp((socket) => {
			connections++;
			socket.end();
		});
		return { port, connections: () => connections };
	}

	const tricks: [name: string, request: (host: string, other: string) => string][] = [
		["absolute-form", (host, other) => `GET http://${other}/ HTTP/1.1\r\nHost: ${host}\r\n`],
		["absolute-form with userinfo", (host, other) => `GET http://${host}@${other}/ HTTP/1.1\r\nHost: ${host}\r\n`],
		["a path that begins with two slashes", (host, other) => `GET //${other}/ HTTP/1.1\r\nHost: ${host}\r\n`],
		["a path that is a URL", (host, other) => `GET /http://${other}/ HTTP/1.1\r\nHost: ${host}\r\n`],
		["a path with @", (host, other) => `GET /@${other}/ HTTP/1.1\r\nHost: ${host}\r\n`],
		["authority-form", (_host, other) => `GET ${other} HTTP/1.1\r\nHost: ${other}\r\n`],
		["CONNECT", (host, other) => `CONNECT ${other} HTTP/1.1\r\nHost: ${host}\r\n`],
		["Host", (_host, other) => `GET / HTTP/1.1\r\nHost: ${other}\r\n`],
		["Host with userinfo", (host, other) => `GET / HTTP/1.1\r\nHost: ${host}@${other}\r\n`],
		["two Hosts", (host, other) => `GET / HTTP/1.1\r\nHost: ${host}\r\nHost: ${other}\r\n`],
		["the other's port behind Host", (host, other) => `GET / HTTP/1.1\r\nHost: ${host}:${other.split(":")[1]}\r\n`],
		["X-Runloop-Host", (host, other) => `GET / HTTP/1.1\r\nHost: ${host}\r\nX-Runloop-Host: ${other}\r\n`],
		["X-Forwarded-Host", (host, other) => `GET / HTTP/1.1\r\nHost: ${host}\r\nX-Forwarded-Host: ${other}\r\n`],
		["Forwarded", (host, other) => `GET / HTTP/1.1\r\nHost: ${host}\r\nForwarded: host=${other}\r\n`],
		["X-Original-URL", (host, other) => `GET / HTTP/1.1\r\nHost: ${host}\r\nX-Original-URL: http://${other}/\r\n`],
	];
	test.each(tricks)("%s does not lead elsewhere", async (_name, request) => {
		const { port, door } = await privateBox();
		const other = await elsewhere();
		const text = await sendRaw(
			door,
			`${request(hostOf(port), `127.0.0.1:${other.port}`)}${AUTH}\r\nConnection: close\r\n\r\n`,
		);
		expect(statuses(text)).toHaveLength(1);
		expect([200, 400, 404, 501]).toContain(statuses(text)[0]);
		expect(other.connections()).toBe(0);
	});

	test.each([0, 22, 65_536, 99_999])("no host name leads to port %i", async (port) => {
		const door = await openDoor({ target: secured });
		const text = await sendRaw(door, `GET / HTTP/1.1\r\nHost: ${hostOf(port)}\r\n${AUTH}\r\nConnection: close\r\n\r\n`);
		expect(statuses(text)[0]).toBeGreaterThanOrEqual(400);
		expect(statuses(text)[0]).toBeLessThan(500);
	});

	test.each([301, 302, 303, 307, 308])("a redirect of the box with %i is the client's to follow", async (status) => {
		const other = await elsewhere();
		const location = `http://127.0.0.1:${other.port}/`;
		const door = await openDoor();
		const port = await listen(
			createServer((_request, response) =>
				response.writeHead(status, { location, refresh: `0; url=${location}` }).end(),
			),
		);
		const response = await send(door, port);
		response.resume();
		await once(response, "end");
		expect([response.statusCode, response.headers.location]).toEqual([status, location]);
		expect(other.connections()).toBe(0);
	});
});
