import { expect, test } from "vitest";
import { checkTrustedRuntime } from "./checks.js";
import { errorLine } from "./config.fixture.js";

const refused = (bind: string, runtime: string, allowTrustedRuntime = false) =>
	errorLine(() => checkTrustedRuntime({ bind, allowTrustedRuntime }, runtime)) !== "no error";

test.each(["0.0.0.0", "::", "10.0.0.1", "192.168.1.5", "203.0.113.9", "fe80::1", "::ffff:10.0.0.1"])(
	"the runtime linux may not face %s by default",
	(bind) => {
		expect(refused(bind, "linux")).toBe(true);
		expect(refused(bind, "linux", true)).toBe(false);
		expect(refused(bind, "docker")).toBe(false);
	},
);

test.each(["127.0.0.1", "127.9.9.9", "::1"])("%s is loopback", (bind) => {
	expect(refused(bind, "linux")).toBe(false);
});
