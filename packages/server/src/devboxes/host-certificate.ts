import { createPrivateKey, randomBytes, sign } from "node:crypto";
import { type KeyPair, publicKeyBlob, publicKeyPoint } from "./keys.js";
import { sshMpint, sshString, sshUint32, sshUint64 } from "./wire.js";

const certificateType = "ecdsa-sha2-nistp256-cert-v01@openssh.com";
const hostCertificate = 2;
/** A box that runs longer than this without a restart is verified by its plain host key only. */
const validSeconds = 5 * 365 * 24 * 3600;
/** Clients' clocks may be behind ours. */
const clockSkewSeconds = 3600;

/**
 * A host certificate as OpenSSH defines it (PROTOCOL.certkeys): the devbox's host key, signed by the daemon's host CA, for
 * exactly one host name. Clients that trust the CA (`@cert-authority *.ssh.<domain> …`) verify every devbox by it.
 *
 * @returns the line of a `-cert.pub` file
 */
export function issueHostCertificate(options: {
	readonly ca: KeyPair;
	readonly hostPublicKey: string;
	readonly hostname: string;
	readonly serial: number;
	readonly nowMs: number;
}): string {
	const now = Math.floor(options.nowMs / 1000);
	const body = Buffer.concat([
		sshString(certificateType),
		sshString(randomBytes(32)),
		sshString("nistp256"),
		sshString(publicKeyPoint(options.hostPublicKey)),
		sshUint64(options.serial),
		sshUint32(hostCertificate),
		sshString(options.hostname),
		sshString(sshString(options.hostname)),
		sshUint64(now - clockSkewSeconds),
		sshUint64(now + validSeconds),
		sshString(""), // critical options
		sshString(""), // extensions
		sshString(""), // reserved
		sshString(publicKeyBlob(options.ca.publicKey)),
	]);
	return `${certificateType} ${Buffer.concat([body, sshString(ecdsaSignature(body, options.ca))]).toString("base64")}`;
}

/** RFC 5656, section 3.1.2. */
function ecdsaSignature(data: Buffer, key: KeyPair): Buffer {
	const rs = sign("sha256", data, { key: createPrivateKey(key.privateKeyPem), dsaEncoding: "ieee-p1363" });
	const pair = Buffer.concat([sshMpint(rs.subarray(0, 32)), sshMpint(rs.subarray(32))]);
	return Buffer.concat([sshString("ecdsa-sha2-nistp256"), sshString(pair)]);
}
