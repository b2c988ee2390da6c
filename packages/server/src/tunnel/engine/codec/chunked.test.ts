import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { chunkLine } from "./chunked.js";
import { decodePieces } from "./codec.fixture.js";
import { lastChunk } from "./rewrite.js";

const MESSAGE = '3\r\nabc\r\n0a;ext=1;b="c"\r\n0123456789\r\n1\r\n\n\r\n0\r\nX-T: 1\r\nx-u:2 \r\n\r\n';
const RESULT = {
	data: "abc0123456789\n",
	done: true,
	broken: false,
	trailers: [
		["X-T", "1"],
		["x-u", "2"],
	],
};

describe("chunked coding", () => {
	it("is decoded the same way however it is cut", () => {
		expect(decodePieces([`${MESSAGE}rest`])).toEqual({ ...RESULT, rest: "rest" });
		for (let cut = 1; cut < MESSAGE.length; cut++) {
			expect(decodePieces([MESSAGE.slice(0, cut), `${MESSAGE.slice(cut)}rest`]), `cut at ${cut}`).toEqual({
				...RESULT,
				rest: "rest",
			});
		}
		expect(decodePieces([...MESSAGE])).toEqual({ ...RESULT, rest: "" });
	});

	it("is not done one byte early", () => {
		for (let cut = 0; cut < MESSAGE.length; cut++) {
			expect(decodePieces([MESSAGE.slice(0, cut)])).toMatchObject({ done: false, broken: false });
		}
	});

	const broken: [name: string, text: string][] = [
		["no size", "\r\nabc"],
		["a sign", "+3\r\nabc\r\n"],
		["a prefix", "0x3\r\nabc\r\n"],
		["a space before the size", " 3\r\nabc\r\n"],
		["a space after the size", "3 \r\nabc\r\n"],
		["a tab after the size", "3\t;a\r\nabc\r\n"],
		["a letter that is no digit", "3g\r\nabc\r\n"],
		["a bare LF after the size", "3\nabc\r\n"],
		["a bare CR after the size", "3\rabc\r\n"],
		["a bare LF after the data", "3\r\nabc\n"],
		["data longer than its size", "3\r\nabcd\r\n"],
		["a size of 13 digits", "1000000000000\r\n"],
		["a bare LF in an extension", "3;a\nb\r\nabc\r\n"],
		["a control character in an extension", "3;a\x01\r\nabc\r\n"],
		["a long extension", `3;${"a".repeat(300)}\r\nabc\r\n`],
		["extensions without end", `${`1;${"a".repeat(200)}\r\nx\r\n`.repeat(100)}`],
		["a bare LF after the last chunk", "0\n\n"],
		["a bare LF in the trailers", "0\r\nA: b\n\r\n"],
		["a folded trailer", "0\r\nA: b\r\n c\r\n\r\n"],
		["a space before a trailer's colon", "0\r\nA : b\r\n\r\n"],
		["too many trailers", `0\r\n${"a: b\r\n".repeat(101)}\r\n`],
		["too long trailers", `0\r\na: ${"b".repeat(17_000)}\r\n\r\n`],
	];
	it.each(broken)("is refused with %s, at once and byte by byte", (_name, text) => {
		expect(decodePieces([text])).toMatchObject({ done: false, broken: true });
		expect(decodePieces([...text])).toMatchObject({ done: false, broken: true });
	});

	it("gives back what was printed, cut anywhere", () => {
		const chunk = fc.stringMatching(/^[\s\S]{1,60}$/).map((text) => Buffer.from(text).toString("latin1"));
		const cuts = fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 30 });
		fc.assert(
			fc.property(fc.array(chunk, { maxLength: 12 }), fc.boolean(), cuts, (chunks, trailers, sizes) => {
				const list: [string, string][] = trailers ? [["x-a", "1"]] : [];
				const text = chunks.map((c) => `${chunkLine(c.length)}${c}\r\n`).join("") + lastChunk(list);
				const pieces: string[] = [];
				for (let at = 0, i = 0; at < text.length; i++) {
					const size = sizes[i % sizes.length]!;
					pieces.push(text.slice(at, at + size));
					at += size;
				}
				const decoded = decodePieces(pieces);
				expect(decoded.data).toBe(chunks.join(""));
				expect(decoded.done).toBe(true);
				expect(decoded.trailers ?? []).toEqual(list);
			}),
			{ numRuns: 500 },
		);
	});
});
