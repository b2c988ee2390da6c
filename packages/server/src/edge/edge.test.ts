import { execFile } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import {
	createServer as createHttp,
	request as httpRequest,
	type IncomingMessage,
	type RequestOptions,
} from "node:http";
import { connect as connectHttp2, type IncomingHttpHeaders, type OutgoingHttpHeaders } from "node:http2";
import { request as httpsRequest } from "node:https";
import { type AddressInfo, connect as connectTcp, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect as connectTls, type TLSSocket } from "node:tls";
import { promisify } from "node:util";
import pino from "pino";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, onTestFinished, test } from "vitest";
import { ConfigError } from "../errors.js";
import { type Timeouts, Tunnel } from "../tunnel/index.js";
import {
	type Client,
	Edge,
	type EdgeHandlers,
	type EdgeOptions,
	LocalCertificates,
	Names,
	type Ports,
	type Request,
	type Response,
} from "./index.js";

const run = promisify(execFile);
const log = pino({ level: "silent" });
const domain = "gangway.localhost";
const names = new Names({ domain, apiHosts: ["box.corp"] });
const tunnelHost = `8080-abcdefghijklmnopqrstuvwx27.tunnel.${domain}`;

let dir: string;
let caPath: string;
let ca: string;
let certificates: LocalCertificates;
let edge: Edge;
let tunnel: Tunnel;
let ports: Ports;
/** What the box does with its next requests. */
let answer: (request: IncomingMessage, response: import("node:http").ServerResponse) => void;
let handlers: { -readonly [K in keyof EdgeHandlers]: EdgeHandlers[K] };

beforeAll(async () => {
	dir = mkdtempSync(join(tmpdir(), "gangway-edge-"));
	caPath = join(dir, "ca.pem");
	certificates = await LocalCertificates.open({
		domain,
		dataDir: dir,
		secrets: { get: async () => undefined, set: async () => {} },
		log,
	});
	ca = readFileSync(caPath, "utf8");
});
afterAll(async () => {
	await certificates.close();
	rmSync(dir, { recursive: true, force: true });
});

/** Answers with what the handler saw. */
function reveal(handler: string) {
	return (request: Request, response: Response, client: Client) => {
		const seen = { handler, method: request.method, url: request.url, version: request.httpVersion, ...client };
		let body = "";
		request.setEncoding("utf8");
		request.on("data", (chunk: string) => {
			body += chunk;
		});
		request.on("end", () => {
			response.setHeader("content-type", "application/json");
			response.end(JSON.stringify({ ...seen, body }));
		});
	};
}

/** Behind the tunnel; what its decision knew of the client comes in fields. */
const box = createHttp((request, response) => answer(request, response));
const clientOf = ({ headers }: IncomingMessage) => ({
	secure: headers["x-secure"] === "true",
	peerAddress: String(headers["x-peer"]),
});
box.on("upgrade", (request, socket, head) => {
	socket.write("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n");
	socket.write(`${JSON.stringify(clientOf(request))}${head}`);
	socket.on("error", () => {});
	socket.pipe(socket);
});
beforeAll(async () => {
	await once(box.listen(0, "127.0.0.1"), "listening");
});
afterAll(() => {
	box.closeAllConnections();
	box.close();
});

function openTunnel(timeouts: Partial<Timeouts> = {}): Tunnel {
	const opened = new Tunnel({
		decide: ({ secure, peerAddress }) => ({
			kind: "proxy",
			devboxId: "dbx_a",
			address: "127.0.0.1",
			port: (box.address() as AddressInfo).port,
			requestId: "",
			remove: [],
			set: [
				["x-secure", String(secure)],
				["x-peer", peerAddress],
			],
			activity: undefined,
			failed: (failure) => ({ kind: "respond", status: 502, headers: [], body: failure }),
		}),
		log,
		timeouts,
	});
	onTestFinished(() => opened.close({ graceMs: 0 }));
	return opened;
}

const closeBoth = (graceMs: number) => Promise.all([edge.close({ graceMs }), tunnel.close({ graceMs })]);

beforeEach(async () => {
	answer = (request, response) => reveal("tunnel")(request, response, clientOf(request));
	tunnel = openTunnel();
	handlers = {
		api: reveal("api"),
		tunnel,
		passthrough: (label, socket) => {
			socket.write(`hello ${label}\n`);
			socket.pipe(socket);
		},
		gateway: (socket, { secure, peerAddress }) => socket.end(`gateway, ${secure}, ${peerAddress}`),
	};
	edge = await start();
});
afterEach(() => closeBoth(0));

async function start(options: Partial<EdgeOptions> = {}, timeouts?: Partial<Timeouts>): Promise<Edge> {
	if (timeouts) handlers.tunnel = tunnel = openTunnel(timeouts);
	const all = {
		names,
		bind: ["127.0.0.1"],
		tlsPort: 0,
		httpPort: 0,
		sshPort: 0,
		httpMode: "serve" as const,
	};
	const fresh = new Edge({ ...all, certificates, handlers, log, ...options });
	onTestFinished(() => fresh.close({ graceMs: 0 }));
	ports = await fresh.listen();
	return fresh;
}

async function fetch1(secure: boolean, host: string, options: RequestOptions & { body?: string } = {}) {
	const { body, ...rest } = options;
	const to = { host: "127.0.0.1", agent: false as const, ...rest, headers: { host, ...rest.headers } };
	const request = secure
		? httpsRequest({ ...to, port: ports.tlsPort, ca, servername: `api.${domain}` })
		: httpRequest({ ...to, port: ports.httpPort });
	request.end(body);
	const [response] = (await once(request, "response")) as [IncomingMessage];
	let text = "";
	for await (const chunk of response) text += chunk;
	return { status: response.statusCode, headers: response.headers, json: text === "" ? undefined : JSON.parse(text) };
}

function session2(secure: boolean) {
	const session = secure
		? connectHttp2(`https://api.${domain}:${ports.tlsPort}`, { ca, host: "127.0.0.1" })
		: connectHttp2(`http://127.0.0.1:${ports.httpPort}`);
	session.on("error", () => {});
	onTestFinished(() => session.destroy());
	return session;
}

async function fetch2(session: ReturnType<typeof session2>, headers: OutgoingHttpHeaders, body?: string) {
	const stream = session.request(body === undefined ? headers : { ":method": "POST", ...headers });
	stream.end(body);
	const [answer] = (await once(stream, "response")) as [IncomingHttpHeaders];
	let text = "";
	for await (const chunk of stream) text += chunk;
	return { status: answer[":status"], headers: answer, json: JSON.parse(text) };
}

async function dialPlain(bytes?: string | Buffer): Promise<Socket> {
	const socket = connectTcp({ port: ports.httpPort, host: "127.0.0.1", allowHalfOpen: true });
	return await dialled(socket, "connect", bytes);
}

async function dialTls(servername: string, bytes?: string): Promise<TLSSocket> {
	const socket = connectTls({
		port: ports.tlsPort,
		host: "127.0.0.1",
		servername,
		ca,
		checkServerIdentity: () => undefined,
	});
	return await dialled(socket, "secureConnect", bytes);
}

async function dialled<S extends Socket>(socket: S, event: string, bytes?: string | Buffer): Promise<S> {
	await once(socket, event);
	socket.on("error", () => {});
	onTestFinished(() => void socket.destroy());
	if (bytes !== undefined) socket.write(bytes);
	return socket;
}

async function readAll(socket: Socket): Promise<string> {
	let text = "";
	for await (const chunk of socket) text += chunk;
	return text;
}

async function readUntil(socket: Socket, pattern: RegExp): Promise<string> {
	let text = "";
	for await (const chunk of socket.iterator({ destroyOnReturn: false })) {
		text += chunk;
		if (pattern.test(text)) break;
	}
	return text;
}

const get = (host: string, more = "") => `GET /x HTTP/1.1\r\nHost: ${host}\r\n${more}\r\n`;

describe("the four ways in", () => {
	test.each([
		[true, 1],
		[false, 1],
		[true, 2],
		[false, 2],
	])("TLS %s, HTTP/%s: API and tunnel by the request's own host, with a body", async (secure, version) => {
		const session = version === 2 ? session2(secure) : undefined;
		for (const [host, handler] of [
			[`api.${domain}:1234`, "api"],
			[domain, "api"],
			["127.0.0.1:80", "api"],
			["box.corp", "api"],
			[tunnelHost, "tunnel"],
			[`tunnel.${domain}`, "tunnel"],
			[`x.tunnel.${domain}`, "tunnel"],
		]) {
			const answer = session
				? await fetch2(session, { ":authority": host!, ":path": "/a?b=c" }, "the body")
				: await fetch1(secure, host!, { method: "POST", path: "/a?b=c", body: "the body" });
			expect(answer.status).toBe(200);
			// Boxes are spoken to in HTTP/1.1.
			const seen = version === 2 && handler === "api" ? "2.0" : "1.1";
			const expected = { handler, method: "POST", url: "/a?b=c", version: seen, body: "the body" };
			expect(answer.json).toEqual({ ...expected, secure, peerAddress: "127.0.0.1" });
		}
	});

	test("curl: ALPN, prior knowledge, h2c upgrade (ignored), HTTP/1.0", async () => {
		const curl = async (...args: string[]) =>
			JSON.parse((await run("curl", ["-sS", "--cacert", caPath, ...args])).stdout);
		const tls = `https://api.${domain}:${ports.tlsPort}/`;
		const plain = `http://api.${domain}:${ports.httpPort}/`;
		expect(await curl("--http2", tls)).toMatchObject({ version: "2.0", secure: true });
		expect(await curl("--http1.1", tls)).toMatchObject({ version: "1.1", secure: true });
		expect(await curl("--http2-prior-knowledge", plain)).toMatchObject({ version: "2.0", secure: false });
		expect(await curl("--http2", "-d", "body", plain)).toMatchObject({ version: "1.1", body: "body", handler: "api" });
		expect(await curl("--http1.0", plain)).toMatchObject({ version: "1.0" });
		const resolve = ["--resolve", `${tunnelHost}:${ports.httpPort}:127.0.0.1`];
		expect(await curl("--http2", ...resolve, `http://${tunnelHost}:${ports.httpPort}/`)).toMatchObject({
			handler: "tunnel",
		});
	});

	test("the HTTP/2 preface is recognised however it is split", async () => {
		// Preface, empty SETTINGS, then a PING whose answer proves that nothing was lost.
		const ping = Buffer.from("0000080600000000006f70657261746f72", "hex");
		const bytes = Buffer.concat([
			Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
			Buffer.from("000000040000000000", "hex"),
			ping,
		]);
		for (const cut of [1, 3, 14, 23, 24, 30]) {
			const socket = await dialPlain(bytes.subarray(0, cut));
			socket.setNoDelay(true);
			await new Promise((resolve) => setImmediate(resolve));
			socket.write(bytes.subarray(cut));
			const answer = await readUntil(socket.setEncoding("latin1"), /operator/);
			expect(answer).toContain("operator");
			socket.destroy();
		}
	});

	test.each([domain, tunnelHost])("an HTTP/1.1 head in single bytes, and pipelined requests: %s", async (host) => {
		const slow = await dialPlain();
		for (const byte of get(host, "Connection: close\r\n")) slow.write(byte);
		expect(await readAll(slow)).toMatch(/^HTTP\/1.1 200/);
		const twice = await dialPlain(get(host) + get(host, "Connection: close\r\n"));
		expect((await readAll(twice)).match(/"handler"/g)).toHaveLength(2);
	});

	test("an HTTP/1.1 connection goes on from the tunnel to the API, but not back: 421 and the end", async () => {
		for (const dial of [dialPlain, (bytes: string) => dialTls(domain, bytes)]) {
			const there = await readAll(await dial(get(tunnelHost) + get(domain, "Connection: close\r\n")));
			expect(there).toMatch(/"handler":"tunnel"[\s\S]*"handler":"api"/);
			const back = await readAll(await dial(get(domain) + get(tunnelHost)));
			expect(back).toMatch(/^HTTP\/1.1 200 [\s\S]*HTTP\/1.1 421 [\s\S]*connection: close\r\n/i);
		}
	});

	test("a proxy in front, which mixes names on one connection, is answered once by the API: no 421", async () => {
		const text = await readAll(await dialPlain(get(domain, "X-Forwarded-For: 192.0.2.1\r\n")));
		expect(text).toMatch(/^HTTP\/1.1 200 [\s\S]*connection: close\r\n/i);
	});

	test("a connection for one name serves requests for the others", async () => {
		const session = session2(true);
		expect((await fetch2(session, { ":authority": `api.${domain}` })).json.handler).toBe("api");
		expect((await fetch2(session, { ":authority": tunnelHost })).json.handler).toBe("tunnel");
		expect(edge.connections()).toMatchObject({ http2: 1, http1: 0 });
	});

	test("HTTP/2 to the API: 100-continue is told, another expectation is 417", async () => {
		const session = session2(true);
		const stream = session.request({ ":method": "POST", ":authority": domain, expect: "100-continue" });
		await once(stream, "continue");
		stream.end("body");
		expect(JSON.parse(await readAll(stream as unknown as Socket)).body).toBe("body");
		const odd = session.request({ ":authority": domain, expect: "more" });
		expect((await once(odd, "response"))[0][":status"]).toBe(417);
	});

	test("extended CONNECT is not offered, CONNECT refused", async () => {
		const session = session2(true);
		const [settings] = await once(session, "remoteSettings");
		expect(settings.enableConnectProtocol).toBeFalsy();
		const plain = await dialPlain(`CONNECT ${domain}:80 HTTP/1.1\r\nHost: ${domain}:80\r\n\r\n`);
		expect(await readAll(plain)).toMatch(/^HTTP\/1.1 501 /);
		for (const host of [domain, tunnelHost]) {
			const stream = session.request({ ":method": "CONNECT", ":authority": host });
			const [answered] = (await once(stream, "response")) as [IncomingHttpHeaders];
			expect(answered[":status"]).toBe(405);
			stream.close();
		}
	});
});

describe("hosts", () => {
	test.each(["evil.example", "www.gangway.localhost", `dbx-a.ssh.${domain}`, `ssh.${domain}`, "127.1"])(
		"%s is 421",
		async (host) => {
			for (const secure of [true, false]) {
				expect(await fetch1(secure, host)).toMatchObject({ status: 421, json: { message: expect.any(String) } });
				expect(await fetch2(session2(secure), { ":authority": host })).toMatchObject({ status: 421 });
			}
		},
	);

	test.each([
		["none", "GET / HTTP/1.1\r\nConnection: close\r\n\r\n"],
		["none in HTTP/1.0", "GET / HTTP/1.0\r\n\r\n"],
		["empty", get("", "Connection: close\r\n")],
		["two", get(domain, `Host: ${tunnelHost}\r\nConnection: close\r\n`)],
		["two alike", get(domain, `hOST: ${domain}\r\nConnection: close\r\n`)],
		["another in the target", `GET http://${tunnelHost}/ HTTP/1.1\r\nHost: ${domain}\r\nConnection: close\r\n\r\n`],
		["a target that is no path", `GET x HTTP/1.1\r\nHost: ${domain}\r\nConnection: close\r\n\r\n`],
		["another scheme", `GET ftp://${domain}/ HTTP/1.1\r\nHost: ${domain}\r\nConnection: close\r\n\r\n`],
	])("Host: %s is 400", async (_what, bytes) => {
		expect(await readAll(await dialPlain(bytes))).toMatch(/^HTTP\/1.1 400 /);
	});

	test("HTTP/2: a Host that contradicts :authority is 400, Host alone is enough", async () => {
		const session = session2(false);
		expect(await fetch2(session, { ":authority": domain, host: tunnelHost })).toMatchObject({ status: 400 });
		expect(await fetch2(session, { ":authority": domain, host: domain })).toMatchObject({ status: 200 });
	});

	test("an absolute target is made a path", async () => {
		const bytes = `GET http://${domain}?q HTTP/1.1\r\nHost: ${domain}\r\nConnection: close\r\n\r\n`;
		expect(await readAll(await dialPlain(bytes))).toContain('"url":"/?q"');
	});

	test("X-Runloop-Host takes a proxy's own domain to the tunnel, and only names of tunnels do", async () => {
		const headers = { "x-runloop-host": tunnelHost };
		expect((await fetch1(true, "preview.customer.example", { headers })).json.handler).toBe("tunnel");
		expect((await fetch2(session2(true), { ":authority": "preview.customer.example", ...headers })).json.handler).toBe(
			"tunnel",
		);
		const other = { "x-runloop-host": domain };
		expect((await fetch1(true, "preview.customer.example", { headers: other })).status).toBe(421);
		expect((await fetch1(true, domain, { headers: other })).json.handler).toBe("api");
	});
});

describe("upgrades", () => {
	const upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\n";

	test("a tunnel's goes to the tunnel, with what came after the head", async () => {
		const socket = await dialPlain(`${get(tunnelHost, upgrade)}first frame`);
		expect(await readUntil(socket, /frame/)).toMatch(/101[\s\S]*"secure":false,"peerAddress":"127.0.0.1"\}first frame/);
		expect(edge.connections()).toMatchObject({ http1: 1 });
		expect(tunnel.counts.live).toMatchObject({ upgrade: 1 });
		const tls = await dialTls(tunnelHost, get(tunnelHost, upgrade));
		expect(await readUntil(tls, /\}/)).toMatch(/"secure":true/);
	});

	test("the API's is ignored, and the connection goes on", async () => {
		const body = "Content-Length: 4\r\n\r\nbody";
		const bytes = `POST /x HTTP/1.1\r\nHost: ${domain}\r\n${upgrade}${body}${get(domain, "Connection: close\r\n")}`;
		const text = await readAll(await dialPlain(bytes));
		expect(text.match(/200 OK/g)).toHaveLength(2);
		expect(text).toContain('"body":"body"');
	});

	test("h2c is never passed on to a tunnel", async () => {
		const h2c = "Connection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n";
		expect(await readAll(await dialPlain(get(tunnelHost, h2c)))).toMatch(/200 OK[\s\S]*"handler":"tunnel"/);
	});

	test("an upgraded connection does not inherit the idle timeout of the requests before it", async () => {
		edge = await start({}, { keepAlive: 50, tick: 5 });
		const socket = await dialPlain(get(tunnelHost));
		await readUntil(socket, /"body"/);
		socket.write(get(tunnelHost, upgrade));
		await readUntil(socket, /101[\s\S]*\}/);
		const idle = await dialPlain(get(tunnelHost));
		expect(await readAll(idle)).toMatch(/200 OK/);
		socket.write("still");
		expect(await readUntil(socket, /still/)).toBe("still");
	});

	test("an unknown host's is 421", async () => {
		const bytes = get("evil.example", "Connection: Upgrade, close\r\nUpgrade: websocket\r\n");
		expect(await readAll(await dialPlain(bytes))).toMatch(/^HTTP\/1.1 421 /);
	});
});

describe("redirect mode", () => {
	beforeEach(async () => {
		edge = await start({ httpMode: "redirect" });
	});

	test("308 for known names with the TLS port, 421 for others, both protocols", async () => {
		const location = `https://api.${domain}:${ports.tlsPort}/a?b`;
		expect(await fetch1(false, `api.${domain}:80`, { path: "/a?b", method: "POST", body: "x" })).toMatchObject({
			status: 308,
			headers: { location },
		});
		const session = session2(false);
		expect(await fetch2(session, { ":authority": `api.${domain}`, ":path": "/a?b" })).toMatchObject({
			headers: { location },
		});
		expect((await fetch1(false, tunnelHost)).headers.location).toBe(`https://${tunnelHost}:${ports.tlsPort}/`);
		expect((await fetch2(session, { ":authority": tunnelHost })).status).toBe(308);
		expect((await fetch1(false, `x.tunnel.${domain}`)).status).toBe(308);
		expect((await fetch1(false, "evil.example")).status).toBe(421);
		expect((await fetch1(false, "evil.example", { headers: { "x-runloop-host": tunnelHost } })).status).toBe(421);
	});

	test("upgrades are redirected; health checks and TLS are served", async () => {
		const bytes = get(tunnelHost, "Connection: Upgrade, close\r\nUpgrade: websocket\r\n");
		expect(await readAll(await dialPlain(bytes))).toMatch(/^HTTP\/1.1 308 /);
		expect((await fetch1(false, "127.0.0.1", { path: "/healthz" })).json).toMatchObject({
			handler: "api",
			url: "/healthz",
		});
		expect((await fetch1(false, tunnelHost, { path: "/healthz" })).status).toBe(308);
		expect((await fetch1(true, domain)).status).toBe(200);
	});
});

describe("SNI", () => {
	test("<label>.ssh.<d> is passed through, whatever follows", async () => {
		const socket = await dialTls(`DBX-a.ssh.${domain}`, get(domain));
		expect(await readUntil(socket, /GET/)).toMatch(/^hello dbx-a\nGET/);
		expect(edge.connections()).toMatchObject({ passthrough: 1 });
	});

	test("ssh.<d> goes to the gateway, and so does whatever comes to the SSH port", async () => {
		expect(await readAll(await dialTls(`ssh.${domain}`))).toBe("gateway, true, 127.0.0.1");
		expect(await readAll(connectTcp(ports.sshPort, "127.0.0.1"))).toBe("gateway, false, 127.0.0.1");
	});

	test("no SNI, or a strange one, is HTTP and routed by Host", async () => {
		for (const name of ["", "evil.example"]) {
			const socket = await dialTls(name, get(domain, "Connection: close\r\n"));
			expect(await readAll(socket)).toMatch(/^HTTP\/1.1 200/);
		}
	});
});

describe("hostile and broken peers", () => {
	const descriptors = () => readdirSync("/proc/self/fd").length;
	const garbage = Buffer.from("00ff".repeat(512), "hex");
	const clientHello = Buffer.from("16030100c8010000c40303", "hex");

	/** Resolves when the edge has nothing open any more. */
	async function quiet(): Promise<void> {
		while (Object.values(edge.connections()).some((count) => count > 0))
			await new Promise((resolve) => setImmediate(resolve));
	}

	test("nothing crashes and no descriptor is left behind", async () => {
		const timeouts = { head: 200, keepAlive: 200, linger: 50, tick: 10 };
		edge = await start({ limits: { handshakeMs: 200, headersMs: 200, keepAliveMs: 200 } }, timeouts);
		await fetch1(true, domain);
		await fetch2(session2(false), { ":authority": domain }).then(quiet);
		const before = descriptors();
		const attacks = [
			// Garbage, TLS on the plain port, nothing at all, half a head, half a preface.
			...[garbage, clientHello, "", "GET / HT", "PRI * HT", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"].map(dialPlain),
			// Garbage, plain HTTP on the TLS port, half a handshake, nothing.
			...[garbage, get(domain), clientHello, ""].map((bytes) =>
				dialled(connectTcp(ports.tlsPort, "127.0.0.1"), "connect", bytes),
			),
			dialTls(domain),
			dialTls(domain, "GET / HT"),
			dialTls(domain, "\0garbage"),
		];
		const sockets = await Promise.all<Socket>(attacks);
		for (const socket of sockets) socket.resume();
		await Promise.all(
			sockets.map((socket) => socket.readableEnded || socket.closed || once(socket, "end").catch(() => {})),
		);
		for (const socket of sockets) socket.destroy();
		await quiet();
		expect(descriptors()).toBe(before);
		expect((await fetch1(true, domain)).status).toBe(200);
	});

	test("peers that reset or leave at every stage", async () => {
		const before = descriptors();
		for (let round = 0; round < 20; round++) {
			const sockets = await Promise.all([
				dialPlain(),
				dialPlain("GET"),
				dialPlain(get(domain)),
				dialled(connectTcp(ports.tlsPort, "127.0.0.1"), "connect", clientHello),
				dialTls(domain, get(domain)),
				dialTls(`dbx-a.ssh.${domain}`, "x"),
			]);
			for (const [i, socket] of sockets.entries()) {
				if ((i + round) % 2 === 0 && !("encrypted" in socket)) socket.resetAndDestroy();
				else socket.destroy();
			}
			await quiet();
		}
		expect(descriptors()).toBe(before);
	});

	test("an HTTP error is told", async () => {
		expect(await readAll(await dialPlain("nonsense\r\n\r\n"))).toMatch(/^HTTP\/1.1 400 [\s\S]*malformed/);
		expect(await readAll(await dialPlain(get(domain, `A: ${"x".repeat(70_000)}\r\n`)))).toMatch(/^HTTP\/1.1 431 /);
	});

	test("a head that takes too long is 408, and a body may take its time", async () => {
		edge = await start({ limits: { headersMs: 50 } }, { head: 50, tick: 5 });
		const slow = await dialPlain("GET / HTTP/1.1\r\n");
		expect(await readAll(slow)).toMatch(/^HTTP\/1.1 408 /);
		const upload = await dialPlain(
			`POST / HTTP/1.1\r\nHost: ${domain}\r\nContent-Length: 4\r\nConnection: close\r\n\r\nbo`,
		);
		expect(await readAll(await dialPlain("GET / HTTP/1.1\r\n"))).toMatch(/^HTTP\/1.1 408 /);
		upload.write("dy");
		expect(await readAll(upload)).toMatch(/"body":"body"/);
	});

	test("connections beyond the limit are closed at once", async () => {
		edge = await start({ limits: { maxConnections: 2 } });
		const kept = [await dialPlain("P"), await dialPlain("P")];
		expect(await readAll(await dialPlain()).catch(() => "")).toBe("");
		expect(edge.refused).toBe(1);
		expect(kept.every((socket) => !socket.destroyed)).toBe(true);
	});

	test("a handler that fails ends its own request only", async () => {
		handlers.api = () => Promise.reject(new Error("secret detail"));
		edge = await start();
		const answer = await fetch1(true, domain);
		expect(answer).toMatchObject({ status: 500, json: { message: "internal error" } });
		expect((await fetch2(session2(true), { ":authority": domain })).status).toBe(500);
		expect((await fetch1(true, tunnelHost)).status).toBe(200);
	});

	test("TLS 1.1 is refused", async () => {
		const old = connectTls({
			port: ports.tlsPort,
			host: "127.0.0.1",
			ca,
			maxVersion: "TLSv1.1",
			minVersion: "TLSv1.1",
			ciphers: "ALL:@SECLEVEL=0",
		});
		const [error] = await once(old, "error");
		expect(error.code).toMatch(/PROTOCOL_VERSION/);
	});
});

describe("certificates", () => {
	test("a new one serves new connections, old connections live on", async () => {
		let change: (pair: { cert: string; key: string }) => void = () => {};
		const source = {
			current: certificates.current,
			expiresAtMs: 0,
			close: async () => {},
			onChange: (listener: typeof change) => {
				change = listener;
			},
		};
		edge = await start({ certificates: source });
		const serial = (socket: TLSSocket) => socket.getPeerCertificate().serialNumber;
		const old = await dialTls(domain);
		const other = await LocalCertificates.open({
			domain,
			dataDir: mkdtempSync(join(dir, "other-")),
			secrets: { get: async () => undefined, set: async () => {} },
			log,
		});
		onTestFinished(() => other.close());
		change(other.current);
		const fresh = connectTls({ port: ports.tlsPort, host: "127.0.0.1", rejectUnauthorized: false });
		await once(fresh, "secureConnect");
		onTestFinished(() => void fresh.destroy());
		expect(serial(fresh)).not.toBe(serial(old));
		old.write(get(domain, "Connection: close\r\n"));
		expect(await readAll(old)).toMatch(/200 OK/);
	});
});

describe("listening", () => {
	test("a taken port is told with its setting, and nothing stays open", async () => {
		const other = createServer().listen(0, "127.0.0.1");
		await once(other, "listening");
		onTestFinished(() => void other.close());
		const { port } = other.address() as { port: number };
		const failed = new Edge({
			names,
			bind: ["127.0.0.1"],
			tlsPort: 0,
			httpPort: port,
			sshPort: 0,
			httpMode: "serve",
			certificates,
			handlers,
			log,
		});
		const error = await failed.listen().catch((error: unknown) => error);
		expect(error).toBeInstanceOf(ConfigError);
		expect((error as Error).message).toMatch(new RegExp(`^http_port: port ${port} is taken \\(EADDRINUSE\\)`));
		await failed.close({ graceMs: 0 });
		await failed.close({ graceMs: 0 });
	});

	test("an address that is not ours names the bind setting", async () => {
		await expect(start({ bind: ["192.0.2.1"] })).rejects.toThrow(/^bind: 192.0.2.1 is not an address of this host/);
	});

	test("closing while listening leaves nothing open", async () => {
		const early = new Edge({
			names,
			bind: ["127.0.0.1"],
			tlsPort: 0,
			httpPort: 0,
			sshPort: 0,
			httpMode: "serve",
			certificates,
			handlers,
			log,
		});
		const before = readdirSync("/proc/self/fd").length;
		const listening = early.listen().catch((error: unknown) => error);
		await early.close({ graceMs: 0 });
		expect(await listening).toBeInstanceOf(ConfigError);
		expect(readdirSync("/proc/self/fd").length).toBe(before);
	});

	test("several addresses share one port", async () => {
		edge = await start({ bind: ["127.0.0.1", "127.0.0.2"] });
		for (const host of ["127.0.0.1", "127.0.0.2"]) expect((await fetch1(false, domain, { host })).status).toBe(200);
	});
});

describe("close", () => {
	test("running requests finish, idle connections end, new ones are refused", async () => {
		const waiting: import("node:http").ServerResponse[] = [];
		const asked = new Promise<void>((resolve) => {
			answer = (_request, response) => {
				if (waiting.push(response) === 2) resolve();
			};
		});
		const idle = await dialPlain(get(domain));
		await readUntil(idle, /"body"/);
		const silent = await dialPlain();
		const session = session2(true);
		const goaway = once(session, "goaway");
		const stream = session.request({ ":authority": tunnelHost });
		const busy = await dialPlain(get(tunnelHost));
		await asked;
		const closed = closeBoth(60_000);
		await Promise.all([readAll(idle), readAll(silent), goaway]);
		await expect(dialPlain()).rejects.toThrow(/ECONNREFUSED/);
		for (const response of waiting) response.end("done");
		expect(await readAll(busy)).toMatch(/200 OK[\s\S]*done/);
		let text = "";
		for await (const chunk of stream) text += chunk;
		expect(text).toBe("done");
		await closed;
		await edge.close({ graceMs: 0 });
	});

	test("half-open handshakes and silent sessions do not hold it up", async () => {
		const half = await dialled(
			connectTcp(ports.tlsPort, "127.0.0.1"),
			"connect",
			Buffer.from("16030100c8010000c40303", "hex"),
		);
		const session = session2(false);
		await fetch2(session, { ":authority": domain });
		const ended = [half, await dialTls(domain), await dialPlain("PRI")].map((socket) =>
			readAll(socket).catch(() => {}),
		);
		await Promise.all([closeBoth(60_000), ...ended]);
	});

	test("upgrades and passthrough may go on for the grace time, then they are cut", async () => {
		const ssh = await dialTls(`dbx-a.ssh.${domain}`);
		const socket = await dialPlain(get(tunnelHost, "Connection: Upgrade\r\nUpgrade: websocket\r\n"));
		await Promise.all([readUntil(ssh, /hello/), readUntil(socket, /101/)]);
		const closed = closeBoth(100);
		ssh.write("still");
		expect(await readUntil(ssh, /still/)).toContain("still");
		await Promise.all([closed, readAll(ssh).catch(() => {}), readAll(socket).catch(() => {})]);
		expect(Object.values(edge.connections()).every((count) => count === 0)).toBe(true);
	});
});
