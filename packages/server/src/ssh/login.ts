import { connect as connectTcp, type Socket } from "node:net";
import { Client } from "ssh2";
import { publicKeyBlob, type SshAccess } from "../devboxes/index.js";
import { connectionError } from "./tcp-channel.js";

export interface LoginOptions {
	/** Opens the connection to the sshd at an address. */
	readonly connect: (address: string) => Socket;
	/** So often the sshd is asked whether it is still there; never, if undefined. */
	readonly keepAliveMs?: number;
	/** Called in ssh2's own listener of "ready". */
	readonly ready?: (client: Client, socket: Socket) => void;
}

/** From the start of the connection until we are logged in. */
const loginMs = 10_000;

/**
 * Logs in to a box's sshd with the box's own key. The host key must be exactly the stored one. Resolves once logged in;
 * rejects when that does not come to pass, and the socket is destroyed then.
 */
export async function logIn(
	{ user, address, privateKeyPem, hostPublicKey }: SshAccess,
	{ connect, keepAliveMs = 0, ready }: LoginOptions,
): Promise<{ readonly client: Client; readonly socket: Socket }> {
	const hostKey = publicKeyBlob(hostPublicKey);
	const socket = connect(address);
	const client = new Client();
	const loggedIn = new Promise<void>((resolve, reject) => {
		client
			// Once: a hostile sshd may let us in again and again.
			.once("ready", () => {
				ready?.(client, socket);
				resolve();
			})
			.on("error", reject)
			.on("close", () => reject(connectionLost()));
	});
	client.connect({
		sock: socket,
		username: user,
		privateKey: privateKeyPem,
		authHandler: ["publickey"],
		algorithms: {
			serverHostKey: ["ecdsa-sha2-nistp256"],
			// Finite fields keep the whole process computing, as often as the server re-keys; a packet of zlib's may become a thousand times as long.
			kex: ["curve25519-sha256", "ecdh-sha2-nistp256"],
			compress: ["none"],
		},
		hostVerifier: (key: Buffer) => key.equals(hostKey),
		readyTimeout: loginMs,
		keepaliveInterval: keepAliveMs,
		keepaliveCountMax: 3,
	});
	try {
		await loggedIn;
		if (socket.destroyed) throw connectionLost();
		return { client, socket };
	} catch (error) {
		socket.destroy();
		throw error;
	}
}

export function connectionLost(): Error {
	return connectionError("ECONNRESET", "the SSH connection to the devbox is closed");
}

export function connectToSshd(address: string): Socket {
	return connectTcp({ host: address, port: 22, noDelay: true });
}
