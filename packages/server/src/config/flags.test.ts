import { expect, test } from "vitest";
import { errorLine } from "./config.fixture.js";
import { parseFlags } from "./flags.js";

test("reads values after a space or an equals sign, and switches", () => {
	expect(parseFlags(["--tls-port", "0", "--domain=example.com", "--allow-trusted-runtime", "--config", "-"])).toEqual({
		tlsPort: "0",
		domain: "example.com",
		allowTrustedRuntime: true,
		config: "-",
	});
	expect(parseFlags(["--allow-trusted-runtime=false", "--api-hosts="])).toEqual({
		allowTrustedRuntime: "false",
		apiHosts: "",
	});
	expect(parseFlags(["--admin-api-key=a=b="])).toEqual({ adminApiKey: "a=b=" });
	expect(parseFlags([])).toEqual({});
});

test.each<[string[], string]>([
	[["--tls-prot", "1"], "--tls-prot: unknown flag; did you mean --tls-port?"],
	[["--tls_port=1"], "--tls_port: unknown flag; did you mean --tls-port?"],
	[["--admin-api-kee=hunter2"], "--admin-api-kee: unknown flag; did you mean --admin-api-key?"],
	[["--tls-port"], "--tls-port: needs a value; allowed: --tls-port <value>"],
	[["--tls-port", "--domain", "x"], "--tls-port: needs a value; allowed: --tls-port <value>"],
	[["--domain=a", "--domain=b"], "--domain: given twice; allowed: once"],
])("%j", (argv, expected) => {
	expect(errorLine(() => parseFlags(argv))).toBe(expected);
});
