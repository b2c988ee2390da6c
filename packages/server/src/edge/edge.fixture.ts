import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pino from "pino";
import { afterAll, beforeAll, onTestFinished } from "vitest";
import { Edge, type EdgeOptions, LocalCertificates, Names } from "./index.js";

export const domain = "gangway.localhost";
const log = pino({ level: "silent" });

/** For handlers that a test does not expect to be asked. */
export const unused = () => {
	throw new Error("not asked for here");
};

/**
 * Certificates for the tests of a file. Returns what starts an edge on free ports, closed when its test ends; unless told
 * otherwise only the API answers.
 */
export function useEdge() {
	let dir: string;
	let certificates: LocalCertificates;
	beforeAll(async () => {
		dir = mkdtempSync(join(tmpdir(), "gangway-edge-"));
		const secrets = { get: async () => undefined, set: async () => {} };
		certificates = await LocalCertificates.open({ domain, dataDir: dir, secrets, log });
	});
	afterAll(async () => {
		await certificates.close();
		rmSync(dir, { recursive: true, force: true });
	});
	return async (options: Partial<EdgeOptions>) => {
		const edge = new Edge({
			names: new Names({ domain, apiHosts: [] }),
			bind: ["127.0.0.1"],
			tlsPort: 0,
			httpPort: 0,
			sshPort: 0,
			httpMode: "serve",
			certificates,
			handlers: answeredByApi({ accept: unused, stream: unused }),
			log,
			...options,
		});
		onTestFinished(() => edge.close({ graceMs: 0 }));
		return { edge, ...(await edge.listen()) };
	};
}

export function answeredByApi(tunnel: EdgeOptions["handlers"]["tunnel"]): EdgeOptions["handlers"] {
	return {
		api: (_request, response) => response.end("api"),
		tunnel,
		passthrough: unused,
		gateway: unused,
	};
}
