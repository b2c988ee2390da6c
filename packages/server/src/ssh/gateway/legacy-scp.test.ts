import { expect, test } from "vitest";
import { isLegacyScp } from "./legacy-scp.js";

test.each([
	"scp -t .",
	"scp -f file",
	"scp -v -r -p -t -- dir",
	"scp -d -t dir",
	"/usr/bin/scp -r -f dir",
	"scp -rt dir",
])("%s is one end of the old protocol", (command) => expect(isLegacyScp(command)).toBe(true));

test.each([
	"scp file host:",
	"scp -r dir host:",
	"scp",
	"scp -i key -t",
	"cd x; scp -t .",
	"myscp -t .",
	"echo scp -t",
])("%s is a command of the user", (command) => expect(isLegacyScp(command)).toBe(false));
