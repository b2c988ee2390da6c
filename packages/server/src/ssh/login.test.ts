import { once } from "node:events";
import { type AddressInfo, connect } from "node:net";
import { Server } from "ssh2";
import { expect, onTestFinished, test, vi } from "vitest";
import { generateEcdsaKeyPair } from "../devboxes/keys.js";
import { PacketLink, socketOf } from "./gateway/packets.js";
import { logIn } from "./login.js";

/** RFC 4252, section 6. */
const userauthSuccess = Buffer.of(52);

test("a server that lets us in again and again has let us in once", async () => {
	const [key, hostKey] = await Promise.all([generateEcdsaKeyPair(), generateEcdsaKeyPair()]);
	const server = new Server({ hostKeys: [hostKey.privateKeyPem] }, (connection) => {
		connection.on("authentication", (context) => context.accept());
		connection.once("ready", () => {
			const link = new PacketLink(connection, socketOf(connection), { message: () => {}, flow: () => {} });
			for (let n = 0; n < 3; n++) link.send(userauthSuccess);
			connection.end();
		});
	});
	onTestFinished(() => void server.close());
	server.listen(0, "127.0.0.1");
	await once(server, "listening");
	const { port } = server.address() as AddressInfo;
	const ready = vi.fn();
	const access = { address: "", user: "user", privateKeyPem: key.privateKeyPem, hostPublicKey: hostKey.publicKey };
	const { client } = await logIn(access, { connect: () => connect(port, "127.0.0.1"), ready });
	await once(client, "close");
	expect(ready).toHaveBeenCalledTimes(1);
});
