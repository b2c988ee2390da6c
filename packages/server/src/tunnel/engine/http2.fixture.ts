/** A client that speaks HTTP/2 to an engine. */
import * as http2 from "node:http2";
import type * as net from "node:net";
import type { RequestInfo } from "../decision.js";
import type { EngineOptions } from "./options.js";
import { cleanup, startEngine } from "./testing.fixture.js";
import { clientServer, isSecure, trusted } from "./transport.fixture.js";

export interface Answer {
	headers: http2.IncomingHttpHeaders & http2.IncomingHttpStatusHeader;
	body: Buffer;
	trailers: http2.IncomingHttpHeaders | undefined;
	interim: number[];
	/** The error code of the stream. */
	code: number;
}

/** Like `startEngine`, with a session of a client. */
export async function start(
	port: number | ((request: RequestInfo) => ReturnType<EngineOptions["decide"]>),
	options: Partial<EngineOptions> = {},
) {
	const started = await startEngine(port, options);
	const server = http2.createServer();
	const sessions = new Set<http2.ServerHttp2Session>();
	server.on("session", (session) => sessions.add(session));
	server.on("stream", (...event: [http2.ServerHttp2Stream, http2.IncomingHttpHeaders, number, string[]?]) => {
		const [stream, headers, , rawHeaders = []] = event;
		const peerAddress = stream.session?.socket.remoteAddress ?? "";
		started.engine.acceptHttp2Stream(stream, headers, { secure: true, peerAddress, rawHeaders });
	});
	const listener = clientServer((socket) => {
		socket.allowHalfOpen = false;
		server.emit("connection", socket);
	});
	await new Promise<void>((resolve) => listener.listen(0, "127.0.0.1", resolve));
	const { port: door } = listener.address() as net.AddressInfo;
	// In MB: Node's client refuses responses while more than this of its uploads is unsent.
	const client = { ...trusted(), maxSessionMemory: 1000 };
	const session = http2.connect(`${isSecure() ? "https" : "http"}://127.0.0.1:${door}`, client);
	cleanup(() => {
		session.destroy();
		for (const one of sessions) one.destroy();
		listener.close();
	});
	return { ...started, session };
}

export async function ask(
	session: http2.ClientHttp2Session,
	headers: http2.OutgoingHttpHeaders,
	body?: Buffer | Buffer[],
): Promise<Answer> {
	const stream = session.request({ ":authority": "t", ":path": "/", ...headers }, { endStream: body === undefined });
	for (const part of Array.isArray(body) ? body : body === undefined ? [] : [body]) stream.write(part);
	if (body !== undefined) stream.end();
	return await answer(stream);
}

/** All that comes on a stream until it closes. */
export async function answer(stream: http2.ClientHttp2Stream): Promise<Answer> {
	const result: Answer = { headers: {}, body: Buffer.alloc(0), trailers: undefined, interim: [], code: 0 };
	const parts: Buffer[] = [];
	stream.on("headers", (headers) => result.interim.push(Number(headers[":status"])));
	stream.on("response", (headers) => {
		result.headers = headers;
	});
	stream.on("trailers", (headers) => {
		result.trailers = headers;
	});
	stream.on("data", (part: Buffer) => parts.push(part));
	stream.on("error", () => {});
	await new Promise((resolve) => stream.once("close", resolve));
	result.code = stream.rstCode;
	result.body = Buffer.concat(parts);
	return result;
}
