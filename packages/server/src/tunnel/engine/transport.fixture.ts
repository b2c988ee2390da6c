/** How clients reach the engine: over plain sockets, or over TLS once a test file has asked for it. */
// @peculiar/x509 resolves its parts through tsyringe, which needs this polyfill before it.
import "reflect-metadata";
import { createPrivateKey } from "node:crypto";
import * as net from "node:net";
import * as tls from "node:tls";
import { SubjectAlternativeNameExtension, X509CertificateGenerator } from "@peculiar/x509";

const HOST = "127.0.0.1";
const ALGORITHM = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };

let pair: { readonly cert: string; readonly key: string } | undefined;

/** From now on, and for this test file, every client speaks TLS. */
export async function useTls(): Promise<void> {
	const keys = await crypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"]);
	const certificate = await X509CertificateGenerator.createSelfSigned({
		name: "CN=engine",
		keys,
		signingAlgorithm: ALGORITHM,
		extensions: [new SubjectAlternativeNameExtension([{ type: "ip", value: HOST }])],
	});
	const key = createPrivateKey({
		key: Buffer.from(await crypto.subtle.exportKey("pkcs8", keys.privateKey)),
		format: "der",
		type: "pkcs8",
	});
	pair = { cert: certificate.toString("pem"), key: key.export({ format: "pem", type: "pkcs8" }).toString() };
}

export function isSecure(): boolean {
	return pair !== undefined;
}

/** What a client has to trust. */
export function trusted(): { ca?: string } {
	return pair === undefined ? {} : { ca: pair.cert };
}

/** A server for clients; over TLS they choose between both versions of HTTP. `carrier` is the TCP socket. */
export function clientServer(accept: (socket: net.Socket, carrier: net.Socket) => void): net.Server {
	if (pair === undefined) return net.createServer((socket) => accept(socket, socket));
	const carriers = new Map<number | undefined, net.Socket>();
	const server = tls.createServer({ ...pair, ALPNProtocols: ["h2", "http/1.1"], allowHalfOpen: true }, (socket) =>
		accept(socket, carriers.get(socket.remotePort)!),
	);
	server.on("connection", (carrier: net.Socket) => carriers.set(carrier.remotePort, carrier));
	return server.on("tlsClientError", () => {});
}

/** A client's connection to such a server, and the event at which it stands. */
export function dial(port: number): { readonly socket: net.Socket; readonly standing: string } {
	const raw = net.connect({ port, host: HOST, allowHalfOpen: true, noDelay: true });
	if (pair === undefined) return { socket: raw, standing: "connect" };
	const options = { socket: raw, host: HOST, allowHalfOpen: true, ALPNProtocols: ["http/1.1"], ...trusted() };
	const socket = tls.connect(options);
	// Only a TCP socket can be reset, and the one inside does not tell the one around it.
	socket.resetAndDestroy = () => {
		raw.resetAndDestroy();
		return socket.destroy();
	};
	return { socket, standing: "secureConnect" };
}
