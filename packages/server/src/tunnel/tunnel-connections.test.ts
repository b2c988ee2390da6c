import { execFile } from "node:child_process";
import net from "node:net";
import { promisify } from "node:util";
import { describe, expect, it, onTestFinished } from "vitest";
import { app, openDoor } from "./door.fixture.js";

const run = promisify(execFile);

describe("connections beyond the limits", () => {
	it.each([
		["clientsPerAddress", 429],
		["clients", 503],
	])("%s: curl is told, as JSON or as a page", async (limit, status) => {
		const box = await app((_request, response) => response.end("hello"));
		const { port } = await openDoor({ limits: { [limit]: 1 } });
		const first = net.connect(port, "127.0.0.1");
		onTestFinished(() => void first.destroy());
		first.write(`GET / HTTP/1.1\r\nHost: ${box}-keya.tunnel.test\r\n\r\n`);
		await new Promise((resolve) => first.once("data", resolve));

		const curl = async (...more: string[]) => {
			const host = `Host: ${box}-keya.tunnel.test`;
			return (await run("curl", ["-sS", "-i", "-H", host, ...more, `http://127.0.0.1:${port}/`])).stdout;
		};
		const told = await curl("-d", "x".repeat(100_000));
		expect(told).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
		expect(told).toMatch(/\r\nretry-after: \d+\r\n/);
		expect(told).toMatch(/\r\nConnection: close\r\n/);
		const body = JSON.parse(told.slice(told.indexOf("\r\n\r\n")));
		expect(body).toMatchObject({ error: { code: "too_many_connections" }, request_id: expect.any(String) });
		expect(await curl("-H", "Accept: text/html")).toContain("<h1>Too many connections</h1>");
	});
});
