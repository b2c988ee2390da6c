import fc from "fast-check";
import { expect, test } from "vitest";
import { type ConsoleItem, ConsoleParser } from "./console.js";

const nonce = "c0ffee";
const rs = "\x1e";

function parse(text: string, cuts: number[] = []): ConsoleItem[] {
	const items: ConsoleItem[] = [];
	const parser = new ConsoleParser(nonce, (item) => items.push(item));
	const bytes = Buffer.from(text);
	let start = 0;
	for (const cut of [...cuts.map((c) => c % (bytes.length + 1)).sort((a, b) => a - b), bytes.length]) {
		parser.push(bytes.subarray(start, cut), cut);
		start = cut;
	}
	parser.end(bytes.length);
	return items;
}

const sample = `booting\n${rs}${nonce} launch 0 begin\nhällo\nno end${rs}${nonce} launch 0 end 3\n${rs}${nonce} failed launch\n${rs}bad0 initialized\n`;

test("lines belong to the step that printed them, reports need the nonce", () => {
	expect(parse(sample)).toEqual([
		{ kind: "line", text: "booting", during: null, endOffset: 8 },
		{ kind: "report", report: { event: "begin", step: { name: "launch", index: 0 } }, endOffset: 31 },
		{ kind: "line", text: "hällo", during: { name: "launch", index: 0 }, endOffset: 38 },
		{ kind: "line", text: "no end", during: { name: "launch", index: 0 }, endOffset: 44 },
		{ kind: "report", report: { event: "end", step: { name: "launch", index: 0 }, exitCode: 3 }, endOffset: 67 },
		{ kind: "report", report: { event: "failed", what: "launch" }, endOffset: 89 },
		{ kind: "line", text: `${rs}bad0 initialized`, during: { name: "failed", index: 0 }, endOffset: 107 },
	]);
});

test("where the chunks are cut makes no difference", () => {
	fc.assert(
		fc.property(fc.array(fc.nat(), { maxLength: 20 }), (cuts) => {
			expect(parse(sample, cuts)).toEqual(parse(sample));
		}),
	);
});

test("any bytes are read without an error, and a line without an end takes no unbounded memory", () => {
	fc.assert(
		fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => {
			parse(Buffer.from(bytes).toString("latin1"));
		}),
	);
	const items: ConsoleItem[] = [];
	const parser = new ConsoleParser(nonce, (item) => items.push(item));
	for (let i = 1; i <= 100; i++) parser.push(Buffer.alloc(1000, "x"), i * 1000);
	expect(items.length).toBeGreaterThanOrEqual(5);
});

test("reports of an earlier start are nobody's output", () => {
	const old = `${rs}${"ab".repeat(16)} stopped\n`;
	expect(parse(`${old}hello\n`)).toMatchObject([{ kind: "line", text: "hello" }]);
});

test("skimming hears every report wherever the chunks are cut, and no line", () => {
	const reports = parse(sample).flatMap((item) => (item.kind === "report" ? [item] : []));
	fc.assert(
		fc.property(fc.integer({ min: 1, max: 40 }), (size) => {
			const items: ConsoleItem[] = [];
			const parser = new ConsoleParser(nonce, (item) => items.push(item));
			const bytes = Buffer.from(sample);
			for (let start = 0; start < bytes.length; start += size) {
				const chunk = bytes.subarray(start, start + size);
				parser.skim(chunk, start + chunk.length);
			}
			expect(items).toEqual(reports);
		}),
	);
});
