import fc from "fast-check";
import { expect, test } from "vitest";
import { sshString, sshUint32 } from "../../devboxes/index.js";
import { SftpWatch } from "./sftp-watch.js";

const request = (type: number, ...fields: Buffer[]) => sshString(Buffer.concat([Buffer.of(type), ...fields]));
const open = (name: string, flags: number) => request(3, sshUint32(7), sshString(name), sshUint32(flags), sshUint32(0));
const init = request(1, sshUint32(3));
const write = (bytes: number) =>
	request(6, sshUint32(8), sshString("h"), Buffer.alloc(8), sshString(Buffer.alloc(bytes, 3)));

function watch(...chunks: Buffer[]): string[] {
	const sftp = new SftpWatch();
	for (const chunk of chunks) sftp.push(chunk);
	return [...sftp.written];
}

test("files opened for writing, each once, those for reading not; however the bytes are split", () => {
	const stream = [init, open("read", 1), open("ünï", 2), write(40_000), open("b", 0x1a), open("b", 0x1a), open("c", 8)];
	const bytes = Buffer.concat(stream);
	fc.assert(
		fc.property(fc.array(fc.nat(bytes.length), { maxLength: 20 }), (cuts) => {
			const at = [0, ...cuts.sort((a, b) => a - b), bytes.length];
			const chunks = at.slice(1).map((end, n) => bytes.subarray(at[n], end));
			expect(watch(...chunks)).toEqual(["ünï", "b", "c"]);
		}),
	);
});

test("what is no SFTP does no harm", () => {
	fc.assert(
		fc.property(fc.array(fc.uint8Array({ maxLength: 200 })), (chunks) => {
			watch(...chunks.map((chunk) => Buffer.from(chunk)));
		}),
	);
	expect(watch(sshString(""), open("after an empty one", 2))).toEqual(["after an empty one"]);
	expect(watch(request(3, sshUint32(1), sshUint32(0xffff_ffff)), open("after a lie", 2))).toEqual(["after a lie"]);
	const endless = request(3, sshUint32(1), sshString(Buffer.alloc(100_000)), sshUint32(2));
	expect(watch(endless, open("after a long name", 2))).toEqual(["after a long name"]);
});
