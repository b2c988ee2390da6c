/** Whoever decides learns exactly once that an exchange is over, whatever ends it. */
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Decision, ProxyDecision } from "../decision.js";
import { start } from "./http2.fixture.js";
import { connect, type Peer, proxyTo, rawServer } from "./testing.fixture.js";

/** What becomes of a request once it is decided. */
const FATES = {
	answered: "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
	interim: "HTTP/1.1 103 Early Hints\r\n\r\n",
	half: "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello",
	broken: "nonsense\r\n\r\n",
	silence: "",
	closed: undefined,
	upgraded: "HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: raw\r\n\r\nearly",
	refused: {},
	dialless: {
		dial: () => {
			throw new TypeError("no dial");
		},
	},
	headless: { set: [["x", "\n"]] },
	wordless: {
		port: 1,
		failed: () => {
			throw new TypeError("no words");
		},
	},
} satisfies Record<string, string | undefined | Partial<ProxyDecision>>;

type Fate = keyof typeof FATES;

const plan = fc.record({
	http2: fc.boolean(),
	fate: fc.constantFrom(...(Object.keys(FATES) as Fate[])),
	body: fc.boolean(),
	decided: fc.constantFrom("at once", "later", "after all else"),
	/** Turns of the event loop until the client leaves; it may be gone before anything has happened. */
	leaves: fc.option(fc.nat(12), { nil: undefined }),
});

const ending = fc.constantFrom("dropDevbox", "dropGrant", "close", "drain");

async function turns(count: number): Promise<void> {
	for (let i = 0; i < count; i++) await new Promise((resolve) => setImmediate(resolve));
}

describe("ended", () => {
	it("is called exactly once per decision", async () => {
		const box = await rawServer((peer: Peer) =>
			peer.socket.once("data", () => {
				const fate = FATES[/^\w+ \/(\w+)/.exec(peer.received)![1] as Fate];
				if (typeof fate === "string") peer.write(fate);
				else peer.socket.destroy();
			}),
		);
		let made = 0;
		await fc.assert(
			fc.asyncProperty(fc.array(plan, { minLength: 1, maxLength: 8 }), ending, fc.nat(20), async (plans, end, when) => {
				const counts: number[] = [];
				const late: (() => void)[] = [];
				const { port, session, engine } = await start(
					(request): Decision | Promise<Decision> => {
						const [, fate, decided] = /^\/(\w+)\/(.*)$/.exec(request.target)!;
						const index = counts.push(0) - 1;
						const told = FATES[fate as Fate];
						const more: Partial<ProxyDecision> = typeof told === "object" ? { port: 1, ...told } : {};
						const decision = proxyTo(box.port, { grant: "g", ended: () => counts[index]!++, ...more });
						if (decided === "once") return decision;
						return new Promise((resolve) => {
							if (decided === "later") setImmediate(() => resolve(decision));
							else late.push(() => resolve(decision));
						});
					},
					{ limits: { upstreamsPerDevbox: 4 } },
				);
				const streams = plans.map(async ({ http2, fate, body, decided, leaves }) => {
					const path = `/${fate}/${decided.split(" ").at(-1)}`;
					const method = body ? "POST" : "GET";
					if (http2) {
						const stream = session.request(
							{ ":path": path, ":method": method, ":authority": "t" },
							{ endStream: !body },
						);
						stream.on("error", () => {}).resume();
						if (leaves !== undefined) await turns(leaves);
						if (leaves !== undefined) stream.close(8);
						return;
					}
					const client = await connect(port);
					const upgrade = fate === "upgraded" ? "Connection: upgrade\r\nUpgrade: raw\r\n" : "";
					const half = body ? "Content-Length: 5\r\n\r\nab" : "\r\n";
					client.write(`${method} ${path} HTTP/1.1\r\nHost: t\r\n${upgrade}${half}`);
					if (leaves !== undefined) await turns(leaves);
					if (leaves !== undefined) client.socket.resetAndDestroy();
				});
				await turns(when);
				if (end === "dropDevbox") engine.dropDevbox("dbx_1");
				if (end === "dropGrant") engine.dropGrant("dbx_1", "g");
				const closed = engine.close({ graceMs: end === "drain" ? 10 : 0 });
				await Promise.all(streams);
				await closed;
				for (const decide of late) decide();
				await turns(2);
				made += counts.length;
				expect(counts).toEqual(counts.map(() => 1));
			}),
			{ numRuns: 60 },
		);
		expect(made).toBeGreaterThan(60);
	});
});
