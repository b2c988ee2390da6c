import { describe, expect, test } from "vitest";
import type { TunnelParams } from "./devbox.js";
import { changedTunnel, checkedTunnelParams, defaultTunnelParams, newTunnel } from "./tunnels.js";

const authenticated = { ...defaultTunnelParams, authMode: "authenticated" } as const;
const checked = (params: Partial<TunnelParams>) => checkedTunnelParams({ ...defaultTunnelParams, ...params });

test("a tunnel is by default open, keeps awake, wakes nothing and lets in nobody else", () => {
	expect(newTunnel(defaultTunnelParams)).toMatchObject({
		authMode: "open",
		token: null,
		httpKeepAlive: true,
		wakeOnHttp: false,
		wakeMode: "retry",
		corsOrigins: [],
		loopbackPorts: [],
		portRules: {},
		generation: 1,
		shareLinks: [],
	});
});

describe("a tunnel that is enabled again", () => {
	const tunnel = newTunnel({
		...authenticated,
		loopbackPorts: [5173],
		portRules: { "80": { hostHeader: "preserve" } },
	});

	test("with parameters that agree stays the same", () => {
		const same = { ...authenticated, loopbackPorts: [5173], portRules: { "80": { hostHeader: "preserve" } } } as const;
		expect(changedTunnel(tunnel, same)).toBe(tunnel);
	});

	test.each<Partial<TunnelParams>>([
		{ httpKeepAlive: false },
		{ wakeOnHttp: true },
		{ wakeMode: "hold" },
		{ corsOrigins: ["https://a.example"] },
		{ loopbackPorts: [] },
		{ portRules: { "80": { hostHeader: "localhost" } } },
	])("with %j keeps key and age and has a new token of the next generation, without links", (change) => {
		const link = { id: "shl_1", port: 80, path: "/", createdAtMs: 1, expiresAtMs: 2 };
		const changed = changedTunnel(
			{ ...tunnel, shareLinks: [link] },
			{ ...authenticated, ...tunnelParams(), ...change },
		);
		expect(changed).toMatchObject({ key: tunnel.key, createdAtMs: tunnel.createdAtMs, generation: 2, shareLinks: [] });
		expect(changed.token).toMatch(/^gwt_/);
		expect(changed.token).not.toBe(tunnel.token);
		expect(changed).toMatchObject(change);
	});

	test("as an open one has no token", () => {
		expect(changedTunnel(tunnel, defaultTunnelParams)).toMatchObject({ authMode: "open", token: null, generation: 2 });
	});

	function tunnelParams(): Partial<TunnelParams> {
		const { loopbackPorts, portRules } = tunnel;
		return { loopbackPorts, portRules };
	}
});

describe("parameters", () => {
	test("origins are compared as browsers write them, and order does not matter", () => {
		expect(
			checked({
				corsOrigins: [
					"HTTPS://App.Example:443",
					"http://localhost:5173",
					"https://[2001:DB8::1]:8443",
					"https://app.example",
				],
				loopbackPorts: [5173, 80],
			}),
		).toMatchObject({
			corsOrigins: ["http://localhost:5173", "https://[2001:db8::1]:8443", "https://app.example"],
			loopbackPorts: [80, 5173],
		});
	});

	test.each([
		"*",
		"null",
		"https://*.example",
		"https://",
		"app.example",
		"ftp://app.example",
		"https://app.example/",
		"https://app.example/path",
		"https://app.example?x",
		"https://app.example#x",
		"https://user@app.example",
		"https://app.example:99999",
		"https://app.example\n",
		"https://app.example https://b.example",
		`https://${"a".repeat(300)}.example`,
	])("the origin %j is refused and named", (origin) => {
		expect(() => checked({ corsOrigins: ["https://fine.example", origin] })).toThrow(
			"cors_origins[1]: must be http:// or https://, a host and perhaps a port, without path or *",
		);
	});

	test.each([0, 22, 65536, -1, 1.5, Number.NaN])("the loopback port %s is refused and named", (port) => {
		expect(() => checked({ loopbackPorts: [80, port] })).toThrow(
			"loopback_ports[1]: must be a port from 1 to 65535, but not 22",
		);
	});

	test("a loopback port twice is refused", () => {
		expect(() => checked({ loopbackPorts: [80, 81, 80] })).toThrow("loopback_ports[2]: is given twice");
	});

	test.each(["", "22", "0", "65536", "080", "8e1", " 80", "80.0", "http", "__proto__"])(
		"a rule for the port %j is refused and named",
		(port) => {
			const portRules = Object.fromEntries([[port, { hostHeader: "localhost" as const }]]);
			expect(() => checked({ portRules })).toThrow(
				`port_rules[${JSON.stringify(port)}]: must be a port from 1 to 65535, but not 22`,
			);
		},
	);

	test.each<[string, (n: number) => Partial<TunnelParams>]>([
		["cors_origins", (n) => ({ corsOrigins: Array.from({ length: n }, (_, i) => `https://h${i}.example`) })],
		["loopback_ports", (n) => ({ loopbackPorts: Array.from({ length: n }, (_, i) => 1000 + i) })],
		[
			"port_rules",
			(n) => ({
				portRules: Object.fromEntries(Array.from({ length: n }, (_, i) => [1000 + i, { hostHeader: "localhost" }])),
			}),
		],
	])("%s has at most 50 entries", (field, params) => {
		expect(() => checked(params(50))).not.toThrow();
		expect(() => checked(params(51))).toThrow(`${field}: must have at most 50 entries`);
	});
});
