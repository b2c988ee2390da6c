import { createServer, type Server } from "node:net";
import { networkInterfaces } from "node:os";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { initPid, type TestBox, TestHost, tool } from "./box.fixture.js";
import { run } from "./run.js";

/** Exit code 0 when a TCP connection can be made within half a second. */
function connect(address: string, port: number): string {
	return `timeout 0.5 bash -c 'exec 3<>/dev/tcp/${address}/${port}'`;
}

describe("the network of boxes", () => {
	let host: TestHost;
	let a: TestBox;
	let b: TestBox;
	let edge: Server;
	let closed: Server;
	// Without the gateways of other installations, whose boxes come and go.
	const outer = Object.entries(networkInterfaces())
		.filter(([name]) => !name.startsWith("gw"))
		.flatMap(([, list]) => list ?? [])
		.filter(({ family, internal }) => family === "IPv4" && !internal)
		.map(({ address }) => address);

	beforeAll(async () => {
		edge = await listen();
		closed = await listen();
		host = await TestHost.open({ edgePorts: [port(edge)] });
		[a, b] = await Promise.all([host.box("dbx_a"), host.box("dbx_b")]);
	});
	afterAll(async () => {
		await host?.dispose();
		edge?.close();
		closed?.close();
	});

	it("lets the host reach every port of a box", async () => {
		expect((await a.sh("true")).code).toBe(0);
		expect(a.address).not.toBe(b.address);
	});

	it("does not let boxes reach each other", async () => {
		// The same port that the host reaches.
		expect((await a.sh(connect(b.address, 9000))).code).not.toBe(0);
		expect((await b.sh(connect(a.address, 9000))).code).not.toBe(0);
		expect((await a.sh(connect(a.address, 9000))).code).toBe(0);
	});

	it("closes the host's addresses, but for the ports of the edge", async () => {
		const gateway = (await a.ok("ip -json route show default | grep -o '[0-9.]*' | head -1")).trim();
		expect(gateway).toMatch(/\.1$/);
		for (const address of [gateway, ...outer]) {
			expect((await a.sh(connect(address, port(closed)))).code, `${address} closed`).not.toBe(0);
			expect(await a.sh(connect(address, port(edge))), `${address} edge`).toMatchObject({ code: 0, stderr: "" });
		}
		expect((await a.sh(connect("127.0.0.1", port(edge)))).code).not.toBe(0);
	});

	it("follows a change of the edge's ports", async () => {
		const gateway = (await a.ok("ip -json route show default | grep -o '[0-9.]*' | head -1")).trim();
		await host.runtime.setEdgePorts([port(closed)]);
		expect((await a.sh(connect(gateway, port(closed)))).code).toBe(0);
		expect((await a.sh(connect(gateway, port(edge)))).code).not.toBe(0);
		await host.runtime.setEdgePorts([port(edge)]);
	});

	it("drops what has a foreign source address, even from somebody who can set one", async () => {
		const gateway = (await a.ok("ip -json route show default | grep -o '[0-9.]*' | head -1")).trim();
		const inside = (...command: string[]) => insideNetwork(host, "dbx_a", ...command);
		const dropped = async () =>
			Number((await tool("nft", "list", "counters", "table", "inet", table)).match(/packets (\d+)/)?.[1]);
		const table = `gangway_test_${process.pid}`;
		// Counts what gets past the first chain of the runtime's table: it must see the own address and nothing else.
		const watch = `
			table inet ${table} {
				counter past {}
				chain early {
					type filter hook prerouting priority -200
					iifname "gw${await host.tag()}-*" udp dport 9 counter name past
				}
			}`;
		await run("nft", ["-f", "-"], { input: watch });
		try {
			const send = (source: string) =>
				inside(
					"python3",
					"-c",
					`import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("${source}", 0)); s.sendto(b"x", ("${gateway}", 9))`,
				);
			await send(a.address);
			expect(await dropped()).toBe(1);
			for (const source of ["198.51.100.7", "8.8.8.8", b.address]) {
				await inside("ip", "address", "add", `${source}/32`, "dev", "eth0");
				await send(source);
			}
			expect(await dropped()).toBe(1);
		} finally {
			await tool("nft", "delete", "table", "inet", table);
			for (const source of ["198.51.100.7", "8.8.8.8", b.address])
				await inside("ip", "address", "del", `${source}/32`, "dev", "eth0").catch(() => {});
		}
	});

	it("reaches the outside with the host's address, but not link-local ones", async () => {
		const tag = `gwt${process.pid % 100000}`;
		const [ours, theirs] = ["198.51.100.1", "198.51.100.2"];
		await tool("ip", "netns", "add", tag);
		try {
			await tool("ip", "link", "add", tag, "type", "veth", "peer", "name", "eth0", "netns", tag);
			await tool("ip", "address", "add", `${ours}/24`, "dev", tag);
			await tool("ip", "link", "set", tag, "up");
			await tool("ip", "-n", tag, "address", "add", `${theirs}/24`, "dev", "eth0");
			await tool("ip", "-n", tag, "address", "add", "169.254.169.254/32", "dev", "eth0");
			await tool("ip", "-n", tag, "link", "set", "eth0", "up");
			await tool("ip", "route", "add", "169.254.169.254/32", "via", theirs, "dev", tag);
			const server = `import socket
s = socket.create_server(("0.0.0.0", 80)); s.settimeout(10)
while True:
  c, peer = s.accept(); c.sendall((peer[0] + chr(10)).encode()); c.close()`;
			const internet = tool("ip", "netns", "exec", tag, "timeout", "15", "python3", "-c", server).catch(() => "");
			const get = (address: string) => `bash -c 'exec 3<>/dev/tcp/${address}/80; cat <&3'`;
			await expect.poll(async () => (await a.sh(get(theirs))).stdout, { timeout: 5_000 }).toBe(`${ours}\n`);
			expect(await tool("bash", "-c", get("169.254.169.254").slice(9, -1))).toBe(`${ours}\n`);
			expect((await a.sh(`timeout 0.5 ${get("169.254.169.254")}`)).code).not.toBe(0);
			// And nobody out there gets in.
			await tool("ip", "-n", tag, "route", "add", "default", "via", ours);
			await expect(tool("ip", "netns", "exec", tag, "bash", "-c", connect(a.address, 9000))).rejects.toThrow();
			for (const pid of (await tool("ip", "netns", "pids", tag)).trim().split("\n")) if (pid) process.kill(Number(pid));
			await internet;
		} finally {
			await tool("ip", "netns", "delete", tag);
			await tool("ip", "link", "delete", tag).catch(() => {});
		}
	});

	it("has no IPv6 between a box and anything else", async () => {
		expect(await a.ok("ip -6 address show dev eth0; ip -6 route show dev eth0")).toBe("");
		expect(await tool("ip", "-6", "address", "show", "dev", `gw${await host.tag()}-${await hostNumber(host, a)}`)).toBe(
			"",
		);
	});

	it("answers at once for the address of a stopped box", async () => {
		const stopped = await host.box("dbx_c");
		await stopped.stop();
		await expect(tool("bash", "-c", `exec 3<>/dev/tcp/${stopped.address}/9000`)).rejects.toThrow(/No route to host/);
		// The gateway's address was on that box's link too; it stays on the others'.
		const gateway = (await a.ok("ip -json route show default | grep -o '[0-9.]*' | head -1")).trim();
		expect((await a.sh(connect(gateway, port(edge)))).code).toBe(0);
	});

	it("keeps two installations on one host apart", async () => {
		const other = await TestHost.open();
		try {
			const c = await other.box("dbx_a");
			expect((await a.sh(connect(c.address, 9000))).code).not.toBe(0);
			expect((await c.sh(connect(a.address, 9000))).code).not.toBe(0);
			expect(await c.ok("hostname")).toBe("dbx-a\n");
		} finally {
			await other.dispose();
		}
		expect((await a.sh(connect(a.address, 9000))).code).toBe(0);
		expect((await a.sh(connect(b.address, 9000))).code).not.toBe(0);
	});
});

function listen(): Promise<Server> {
	return new Promise((resolve) => {
		const server = createServer((socket) => socket.on("error", () => {}).end());
		server.listen(0, "0.0.0.0", () => resolve(server));
	});
}

function port(server: Server): number {
	return (server.address() as { port: number }).port;
}

async function insideNetwork(host: TestHost, id: string, ...command: string[]): Promise<string> {
	return await tool("nsenter", "--net", "--target", String(await initPid(host, id)), ...command);
}

async function hostNumber(host: TestHost, box: TestBox): Promise<string> {
	const links = await tool("ip", "-4", "-o", "address");
	return new RegExp(`gw${await host.tag()}-(\\d+)\\s.*peer ${box.address}`).exec(links)?.[1] ?? "";
}
