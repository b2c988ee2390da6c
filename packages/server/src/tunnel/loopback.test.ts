import { once } from "node:events";
import http from "node:http";
import net from "node:net";
import { expect, onTestFinished, test } from "vitest";
import { type DoorOptions, echo, nobody, openDoor, send, sendForText } from "./door.fixture.js";

/** A box whose address is 127.0.0.2 and whose loopback is this host's; counts what is opened on it. */
async function open(port: number, options: DoorOptions = {}) {
	const opened: string[] = [];
	const loopback = {
		openTcp: (devboxId: string, host: string, to: number) => {
			opened.push(`${devboxId} ${host}`);
			return net.connect(to, host);
		},
	};
	const target = { address: "127.0.0.2", loopbackPorts: [port], ...options.target };
	return { opened, ...(await openDoor({ loopback, ...options, target })) };
}

async function serve(host: string, port = 0): Promise<number> {
	const server = http.createServer((_req, res) => res.end(host));
	server.listen(port, host);
	await once(server, "listening");
	onTestFinished(() => {
		server.close();
		server.closeAllConnections();
	});
	return (server.address() as net.AddressInfo).port;
}

test.each(["127.0.0.1", "::1"])("a port that its address refuses is reached on the loopback, at %s", async (host) => {
	const port = await serve(host);
	expect(await sendForText(await open(port), port)).toBe(host);
});

test("a body arrives whole, both ways", async () => {
	const port = await echo();
	const door = await open(port);
	const body = "x".repeat(5_000_000);
	expect(JSON.parse(await sendForText(door, port, { method: "POST", body })).body).toBe(body);
});

test("the address wins where both answer", async () => {
	const port = await serve("127.0.0.1");
	await serve("127.0.0.2", port);
	const door = await open(port);
	expect(await sendForText(door, port)).toBe("127.0.0.2");
	expect(door.opened).toEqual([]);
});

test("a port that is not named is not looked for there", async () => {
	const port = await serve("127.0.0.1");
	const door = await open(port, { target: { loopbackPorts: [] } });
	expect((await send(door, port)).statusCode).toBe(502);
	expect(door.opened).toEqual([]);
});

test("the way is found once: one probe for many requests", async () => {
	const port = await serve("127.0.0.1");
	const door = await open(port);
	await Promise.all(Array.from({ length: 20 }, () => sendForText(door, port)));
	expect(door.opened.length).toBeLessThanOrEqual(21);
	const before = door.opened.length;
	await sendForText(door, port);
	expect(door.opened.length).toBe(before);
});

test("a way that fails is looked for again, and so in another run of the box", async () => {
	const port = await nobody();
	const server = http.createServer((_req, res) => res.writeHead(200, { connection: "close" }).end("first"));
	server.listen(port, "127.0.0.1");
	await once(server, "listening");
	const door = await open(port);
	expect(await sendForText(door, port)).toBe("first");
	server.close();
	await once(server, "close");
	expect((await send(door, port)).statusCode).toBe(502);
	await serve("::1", port);
	expect(await sendForText(door, port)).toBe("::1");

	door.opened.length = 0;
	door.directory.change({ runningSinceMs: 1 });
	await sendForText(door, port);
	expect(door.opened).toContain("dbx_a 127.0.0.1");
});

test("nothing anywhere: 502 that names the port and both places", async () => {
	const port = await nobody();
	const text = await sendForText(await open(port), port);
	expect(text).toMatch(/address/);
	expect(text).toMatch(/loopback/);
	expect(text).toContain(String(port));
});

test("nothing anywhere yet, shortly after a start: 503 with Retry-After", async () => {
	const port = await nobody();
	const door = await open(port, { target: { runningSinceMs: Date.now() } });
	const { statusCode, headers } = await send(door, port);
	expect([statusCode, headers["retry-after"]]).toEqual([503, "5"]);
});
