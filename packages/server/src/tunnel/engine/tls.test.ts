/** The engine over TLS: what TLS does differently, then all its suites once more. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { describe, expect, it } from "vitest";
import { cleanup, rawServer, startEngine } from "./testing.fixture.js";
import { useTls } from "./transport.fixture.js";

await useTls();

/** Unlike Node, Python tells whether a close_notify came. */
const CLIENT = `
import socket, ssl, sys
context = ssl._create_unverified_context()
client = context.wrap_socket(socket.create_connection(("127.0.0.1", int(sys.argv[1]))), suppress_ragged_eofs=False)
client.sendall(b"GET / HTTP/1.0\\r\\nHost: t\\r\\n\\r\\n")
try:
    while part := client.recv(65536):
        print(part.decode("latin1"), end="", flush=True)
    print("[end]")
except ssl.SSLEOFError:
    print("[cut off]")
`;

/** What a client of HTTP/1.0 gets, and how it ends. `began` is called when something has come. */
async function askPython(port: number, began = () => {}): Promise<string> {
	const client = spawn("python3", ["-c", CLIENT, String(port)]);
	cleanup(() => void client.kill());
	let text = "";
	client.stdout.once("data", began);
	client.stdout.setEncoding("latin1").on("data", (part: string) => {
		text += part;
	});
	await once(client, "close");
	return text;
}

describe("the end of a response that the connection's end marks", () => {
	it("is a close_notify (RFC 8446 §6.1) when the response is whole", async () => {
		const box = await rawServer((peer) => peer.socket.once("data", () => peer.end("HTTP/1.1 200 OK\r\n\r\nwhole")));
		const { port } = await startEngine(box.port);
		expect(await askPython(port)).toMatch(/whole\[end\]\s*$/);
	});

	it("lacks it when the response broke off, so that nobody takes it for whole", async () => {
		const box = await rawServer((peer) => peer.socket.once("data", () => peer.write("HTTP/1.1 200 OK\r\n\r\npart")));
		const { port, records } = await startEngine(box.port);
		const text = await askPython(port, () => void box.peers[0]?.socket.resetAndDestroy());
		expect(text).toMatch(/part\[cut off\]\s*$/);
		expect(records).toMatchObject([{ status: 200, outcome: "aborted" }]);
	});
});

describe("over TLS", async () => {
	await import("./http1.test.js");
	await import("./bodies.test.js");
	await import("./upgrade.test.js");
	await import("./restart.test.js");
	await import("./timeouts.test.js");
	await import("./early-response.test.js");
	await import("./hostile-requests.test.js");
	await import("./hostile-responses.test.js");
	await import("./http2.test.js");
});
