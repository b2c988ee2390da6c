/** An app must not be able to set the cookie that lets a browser in. */
import { describe, expect, it } from "vitest";
import { ask as ask2, start } from "./http2.fixture.js";
import { answering, connect, proxyTo, rawServer } from "./testing.fixture.js";

const GUARDED = "__Host-gangway";

const DROPPED = [
	`${GUARDED}=x`,
	`${GUARDED}=`,
	`${GUARDED}=x; Path=/; Secure; HttpOnly`,
	`\t ${GUARDED} \t = x`,
	// Without a name, it comes back as "__Host-gangway=x".
	`=${GUARDED}=x`,
	` = \t${GUARDED}=x`,
	`==${GUARDED}=x`,
	GUARDED,
	`${GUARDED}; Path=/`,
];
const KEPT = [
	"a=1",
	`a=${GUARDED}=x`,
	`x${GUARDED}=1`,
	`${GUARDED}2=1`,
	`${GUARDED.toLowerCase()}=1`,
	`${GUARDED} x=1`,
	"__Host-gangwa",
	"",
];

const fields = [...DROPPED, ...KEPT].map((value, i) => `${i % 2 ? "Set-Cookie" : "set-cookie"}: ${value}\r\n`).join("");
const response = `HTTP/1.1 103 Early Hints\r\n${fields}\r\nHTTP/1.1 200 OK\r\n${fields}Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n${fields}\r\n`;

function cookiesIn(head: string): string[] {
	return [...head.matchAll(/^set-cookie:[ \t]*(.*?)[ \t]*\r$/gim)].map(([, value]) => value!);
}

describe("a guarded cookie", () => {
	it("is not set by a response, an interim one or trailers over HTTP/1.1; other cookies are", async () => {
		const box = await rawServer(answering(response));
		const { port } = await start(() => proxyTo(box.port, { guardedCookie: GUARDED }));
		const client = await connect(port);
		await client.write("GET / HTTP/1.1\r\nHost: t\r\n\r\n").sees("\r\n0\r\n\r\n");
		const [interim, final, body] = client.received.split("\r\n\r\n");
		expect(cookiesIn(`${interim}\r\n`)).toEqual(KEPT);
		expect(cookiesIn(`${final}\r\n`)).toEqual(KEPT);
		expect(body).not.toContain("ookie");
	});

	it("is not set by a switch to another protocol", async () => {
		const box = await rawServer(
			answering(`HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: raw\r\n${fields}\r\nearly`),
		);
		const { port } = await start(() => proxyTo(box.port, { guardedCookie: GUARDED }));
		const client = await connect(port);
		await client.write("GET / HTTP/1.1\r\nHost: t\r\nConnection: upgrade\r\nUpgrade: raw\r\n\r\n").sees("early");
		expect(cookiesIn(client.received)).toEqual(KEPT);
	});

	it("is not set over HTTP/2 either", async () => {
		const box = await rawServer(answering(response));
		const { session } = await start(() => proxyTo(box.port, { guardedCookie: GUARDED }));
		const stream = session.request({ ":authority": "t", ":path": "/" });
		const heads: unknown[] = [];
		stream.on("headers", (headers) => heads.push(headers["set-cookie"]));
		stream.on("response", (headers) => heads.push(headers["set-cookie"]));
		stream.on("trailers", (headers) => heads.push(headers["set-cookie"]));
		stream.resume();
		await new Promise((resolve) => stream.once("close", resolve));
		expect(heads).toEqual([KEPT, KEPT]);
	});

	it("is set like any other where no decision guards it", async () => {
		const box = await rawServer(answering(`HTTP/1.1 200 OK\r\n${fields}Content-Length: 2\r\n\r\nok`));
		const { port, session } = await start(() => proxyTo(box.port));
		const client = await connect(port);
		await client.write("GET / HTTP/1.1\r\nHost: t\r\n\r\n").sees("ok");
		expect(cookiesIn(client.received)).toHaveLength(DROPPED.length + KEPT.length);
		expect((await ask2(session, {})).headers["set-cookie"]).toHaveLength(DROPPED.length + KEPT.length);
	});
});
