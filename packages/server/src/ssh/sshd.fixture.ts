import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onTestFinished } from "vitest";
import type { SshAccess } from "../devboxes/index.js";
import { generateEcdsaKeyPair } from "../devboxes/keys.js";

/** An sshd with a host key and one authorised key of its own, as a box has it; ends with the test. */
export interface Sshd {
	readonly access: SshAccess;
	/** In the place of port 22 of the box. */
	connect(): Socket;
	/** Connections so far. */
	readonly connections: () => number;
	/** Ends every connection, as when the box loses its sshd. */
	kill(): void;
}

export async function startSshd(): Promise<Sshd> {
	const [key, hostKey] = await Promise.all([generateEcdsaKeyPair(), generateEcdsaKeyPair()]);
	const directory = mkdtempSync(join(tmpdir(), "gangway-sshd-"));
	onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
	const write = (name: string, content: string) => {
		const file = join(directory, name);
		writeFileSync(file, content, { mode: 0o600 });
		return file;
	};
	const config = write(
		"sshd_config",
		[
			`HostKey ${write("host_key", hostKey.privateKeyPem)}`,
			`AuthorizedKeysFile ${write("authorized_keys", `${key.publicKey}\n`)}`,
			"StrictModes no",
			"UsePAM no",
			"PermitRootLogin prohibit-password",
			"",
		].join("\n"),
	);
	const { port, connections, kill } = await serve((socket) => {
		const child = spawn("/usr/sbin/sshd", ["-i", "-f", config], { stdio: [socket, socket, "ignore"] });
		socket.destroy();
		return () => child.kill("SIGKILL");
	});
	const access = {
		address: "127.0.0.1",
		user: "root",
		privateKeyPem: key.privateKeyPem,
		hostPublicKey: hostKey.publicKey,
	};
	return { access, connections, kill, connect: () => connect({ port, host: "127.0.0.1", noDelay: true }) };
}

/** `accept` takes a connection that nothing was read from, and returns what ends it. */
async function serve(accept: (socket: Socket) => () => void) {
	const ends: (() => void)[] = [];
	const server = createServer({ pauseOnConnect: true }, (socket) => ends.push(accept(socket)));
	server.listen(0, "127.0.0.1");
	await once(server, "listening");
	const kill = () => {
		for (const end of ends) end();
	};
	onTestFinished(() => {
		server.close();
		kill();
	});
	return { port: (server.address() as AddressInfo).port, connections: () => ends.length, kill };
}
