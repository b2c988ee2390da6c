import { describe, expect, test } from "vitest";
import { ConfigError } from "../errors.js";
import { canonicalAddress, createForwarding } from "./forwarding.js";
import { request } from "./tunnel.fixture.js";

const trusted = ["10.0.0.0/8", "192.0.2.1", "fd00::/8"];

function forwarded(change: Parameters<typeof request>[0], proxies: readonly string[] = trusted) {
	return Object.fromEntries(createForwarding(proxies)(request(change)).fields);
}

describe("a peer nobody vouches for", () => {
	test("is the client, whatever it claims", () => {
		const headers = { "x-forwarded-for": "1.1.1.1", "x-real-ip": "1.1.1.1", "x-forwarded-proto": "http" };
		expect(forwarded({ peerAddress: "203.0.113.9", headers })).toEqual({
			"x-forwarded-for": "203.0.113.9",
			"x-real-ip": "203.0.113.9",
			"x-forwarded-proto": "https",
		});
	});

	test("is everybody by default", () => {
		const headers = { "x-forwarded-for": "1.1.1.1" };
		expect(forwarded({ peerAddress: "127.0.0.1", headers }, [])["x-forwarded-for"]).toBe("127.0.0.1");
	});

	test("has its plain connection told as http", () => {
		expect(forwarded({ secure: false })["x-forwarded-proto"]).toBe("http");
	});

	test("on a dual-stack listener is shown as the IPv4 address it is", () => {
		expect(forwarded({ peerAddress: "::ffff:203.0.113.9" })["x-real-ip"]).toBe("203.0.113.9");
	});
});

describe("a trusted proxy", () => {
	test.each<[string, string, string | undefined, string, string]>([
		["says nothing", "10.1.1.1", undefined, "10.1.1.1", "10.1.1.1"],
		["names its client", "10.1.1.1", "203.0.113.9", "203.0.113.9, 10.1.1.1", "203.0.113.9"],
		[
			"repeats what its client invented",
			"10.1.1.1",
			"6.6.6.6, 203.0.113.9",
			"6.6.6.6, 203.0.113.9, 10.1.1.1",
			"203.0.113.9",
		],
		[
			"stands behind another one",
			"10.1.1.1",
			"203.0.113.9, 192.0.2.1",
			"203.0.113.9, 192.0.2.1, 10.1.1.1",
			"203.0.113.9",
		],
		["has a trusted client", "10.1.1.1", "10.2.2.2", "10.2.2.2, 10.1.1.1", "10.2.2.2"],
		["passes rubbish", "10.1.1.1", "203.0.113.9, unknown", "203.0.113.9, unknown, 10.1.1.1", "10.1.1.1"],
		["writes ports", "10.1.1.1", "[2001:db8::1]:443", "[2001:db8::1]:443, 10.1.1.1", "2001:db8::1"],
		["speaks IPv6", "fd00::1", "203.0.113.9", "203.0.113.9, fd00::1", "203.0.113.9"],
		["is seen through a dual-stack listener", "::ffff:10.1.1.1", "203.0.113.9", "203.0.113.9, 10.1.1.1", "203.0.113.9"],
	])("%s", (_name, peerAddress, given, chain, client) => {
		const fields = forwarded({ peerAddress, headers: given === undefined ? {} : { "x-forwarded-for": given } });
		expect(fields["x-forwarded-for"]).toBe(chain);
		expect(fields["x-real-ip"]).toBe(client);
	});

	test("is no client itself, unless another one says so", () => {
		const clientOf = (peerAddress: string, chain?: string) =>
			createForwarding(trusted)(
				request({ peerAddress, headers: chain === undefined ? {} : { "x-forwarded-for": chain } }),
			).client;
		expect(clientOf("10.1.1.1")).toBe(undefined);
		expect(clientOf("10.1.1.1", "unknown")).toBe(undefined);
		expect(clientOf("10.1.1.1", "6.6.6.6, 203.0.113.9")).toBe("203.0.113.9");
		expect(clientOf("10.1.1.1", "10.2.2.2")).toBe("10.2.2.2");
		expect(clientOf("203.0.113.9", "6.6.6.6")).toBe("203.0.113.9");
	});

	test.each([
		["https", "https"],
		["HTTP", "http"],
		["wss", "https"],
		["ws", "http"],
		["gopher", "http"],
		["https, http", "http"],
	])("that ended the client's connection says %j: the app hears %j", (given, heard) => {
		const headers = { "x-forwarded-proto": given };
		expect(forwarded({ peerAddress: "10.1.1.1", secure: false, headers })["x-forwarded-proto"]).toBe(heard);
	});
});

test.each(["", "localhost", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/8/8", "::/129", "10.0.0.0/-1", "300.0.0.1"])(
	"%j is no trusted proxy",
	(entry) => {
		expect(() => createForwarding([entry])).toThrow(ConfigError);
	},
);

test.each([
	["fe80::1%eth0", "fe80::1"],
	["10.0.0.1:80", "10.0.0.1"],
	["unix:", undefined],
	["", undefined],
])("canonicalAddress(%j) is %j", (text, address) => {
	expect(canonicalAddress(text)).toBe(address);
});
