import { describe, expect, it } from "vitest";
import { resolvConf, systemAccounts } from "./etc-accounts.js";

describe("the accounts of a box", () => {
	const passwd = `root:x:0:0:root:/root:/bin/bash
daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin
sshd:$6$hash$value:102:65534::/run/sshd:/usr/sbin/nologin
nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin
alice:x:1000:1000:Alice,,,:/home/alice:/bin/bash
dynamic:x:61184:61184::/:/usr/sbin/nologin
+@people::::::
`;
	const group = "root:x:0:\nsudo:x:27:alice\nshadow:x:42:\nadm:x:4:alice,daemon\nalice:x:1000:\nnogroup:x:65534:\n";

	it("are the host's system accounts without its people", () => {
		const accounts = systemAccounts(passwd, group);
		expect(accounts.passwd.split("\n").map((line) => line.split(":")[0])).toEqual([
			"root",
			"daemon",
			"sshd",
			"nobody",
			"",
		]);
		expect(accounts.group).toBe("root:x:0:\nsudo:x:27:\nshadow:x:42:\nadm:x:4:daemon\nnogroup:x:65534:\n");
		expect(Object.values(accounts).join("")).not.toContain("alice");
	});

	it("have no password, not even one from the host's passwd file", () => {
		const accounts = systemAccounts(passwd, group);
		expect(accounts.passwd).not.toContain("hash");
		for (const line of [...accounts.shadow.trim().split("\n"), ...accounts.gshadow.trim().split("\n")])
			expect(line.split(":")[1]).toBe("*");
	});
});

describe("the name servers of a box", () => {
	it.each([
		[
			"nameserver 10.0.0.2\nsearch corp.example\noptions ndots:2\n",
			"nameserver 10.0.0.2\nsearch corp.example\noptions ndots:2\n",
		],
		["nameserver 127.0.0.53\nnameserver 169.254.169.253\n", "nameserver 1.1.1.1\nnameserver 9.9.9.9\n"],
		["nameserver fd00::1\nnameserver 192.0.2.53\n", "nameserver 192.0.2.53\n"],
		["nameserver 192.0.2.1\n", "nameserver 1.1.1.1\nnameserver 9.9.9.9\n"],
		["", "nameserver 1.1.1.1\nnameserver 9.9.9.9\n"],
	])("of a host with %j are %j", (own, expected) => {
		expect(resolvConf(own, ["192.0.2.1", "fe80::1"])).toBe(expected);
	});
});
