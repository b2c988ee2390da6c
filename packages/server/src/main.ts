import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Logger } from "pino";
import { Accounts } from "./accounts/index.js";
import { createApi } from "./api/index.js";
import { type Config, checkTrustedRuntime } from "./config/index.js";
import { type Demo, demo } from "./demo.js";
import { Devboxes, Directory } from "./devboxes/index.js";
import { CertificateFiles, Edge, LocalCertificates, Names } from "./edge/index.js";
import { createRegistry, observe } from "./metrics.js";
import { openRuntime } from "./runtime/index.js";
import { Passthrough } from "./ssh/index.js";
import { IdempotencyKeys, loadMasterKey, openStore, Seal, secretStorage } from "./store/index.js";
import { createDecide, Tunnel } from "./tunnel/index.js";
import { version } from "./version.js";

/** What clients need to know of a daemon; also `<data dir>/endpoints.json`. */
export interface Endpoints {
	readonly api_url: string;
	readonly tls_port: number;
	readonly http_port: number;
	readonly ssh_port: number;
	readonly domain: string;
	/** PEM file of the local CA; null where a certificate was configured. */
	readonly ca_cert: string | null;
}

export interface Daemon {
	readonly endpoints: Endpoints;
	/** Where the generated API key lies; undefined when it was configured. */
	readonly adminKeyFile: string | undefined;
	/** On an empty store, makes the demo devbox; later, finds it again. Undefined when there is none (any more). */
	demo(): Promise<Demo | undefined>;
	/** Stops accepting, lets open sessions finish for the drain time, leaves devboxes running. Twice is fine. */
	close(): Promise<void>;
}

/**
 * Starts everything, in the order in which one part needs the other. Throws `GangwayError` when something cannot be had;
 * what was started before is closed then.
 */
export async function startDaemon(config: Config, log: Logger): Promise<Daemon> {
	const closers: (() => Promise<unknown>)[] = [];
	const close = async () => {
		for (let closer = closers.pop(); closer; closer = closers.pop()) await closer();
	};
	try {
		return await start(config, log, closers, close);
	} catch (error) {
		await close();
		throw error;
	}
}

async function start(
	config: Config,
	log: Logger,
	closers: (() => Promise<unknown>)[],
	close: () => Promise<void>,
): Promise<Daemon> {
	const { dataDir, domain } = config;
	const drain = { graceMs: config.drainTimeout * 1000 };

	const store = await openStore({ url: config.databaseUrl, dataDir, log });
	closers.push(() => store.close());
	const seal = new Seal(await loadMasterKey({ dataDir, masterKey: config.masterKey, db: store.db }));
	const secrets = secretStorage(store.db, seal);
	const accounts = new Accounts({ store, dataDir });
	const bootstrap = await accounts.bootstrap({ adminApiKey: config.adminApiKey });

	const runtime = await openRuntime({
		wanted: config.runtime,
		dataDir,
		log,
		check: (name) => checkTrustedRuntime(config, name),
	});
	closers.push(() => runtime.close());
	const devboxes = await Devboxes.open({ ...config, store, seal, secrets, runtime, log, sshDomain: `ssh.${domain}` });
	closers.push(() => devboxes.close());
	const directory = new Directory(devboxes);

	const names = new Names({ domain, apiHosts: config.apiHosts });
	const tunnel = new Tunnel({
		decide: createDecide({
			directory,
			trustedProxies: config.trustedProxies,
			route: (authority) => {
				const name = names.parse(authority);
				return name.kind === "tunnel" ? name : undefined;
			},
		}),
		log,
	});
	const passthrough = new Passthrough({ directory, idleTimeoutMs: config.sshIdleTimeout * 1000, log });
	devboxes.onStopped((devboxId) => {
		tunnel.drop(devboxId);
		passthrough.drop(devboxId);
	});
	devboxes.onTunnelRevoked((devboxId) => tunnel.drop(devboxId));

	const { tlsCert, tlsKey } = config;
	const certificates =
		tlsCert && tlsKey
			? await CertificateFiles.open({ certPath: tlsCert, keyPath: tlsKey, log })
			: await LocalCertificates.open({ domain, dataDir, secrets, log });
	closers.push(() => certificates.close());

	const idempotency = new IdempotencyKeys(store, seal);
	idempotency.sweepHourly((error) => log.error({ err: error }, "old idempotency keys could not be deleted"));
	closers.push(async () => idempotency.close());
	const metrics = createRegistry();
	const state = { ready: false };
	const api = await createApi({
		devboxes,
		accounts,
		idempotency,
		metrics,
		ready: () => state.ready || "starting or stopping",
		ssh: { connect: () => `${config.sshHost}:${ports.tlsPort}`, hostCa: devboxes.hostCaPublicKey },
		version,
		log,
	});
	closers.push(() => api.close());
	const edge = new Edge({
		...config,
		names,
		bind: [config.bind],
		certificates,
		handlers: { api: api.handler, tunnel, passthrough: (label, socket) => passthrough.handle(label, socket) },
		log,
	});
	// Together: the calls that the API holds would keep the edge waiting until it cuts them.
	closers.push(() => Promise.all([edge.close(drain), tunnel.close(drain), passthrough.close(drain), api.close()]));
	const ports = await edge.listen();
	await runtime.setEdgePorts([ports.tlsPort, ports.httpPort]);
	observe(metrics, { devboxes, edge, tunnel, passthrough, certificates });

	const endpoints: Endpoints = {
		api_url: apiUrl(config, ports.tlsPort),
		tls_port: ports.tlsPort,
		http_port: ports.httpPort,
		ssh_port: config.sshPort,
		domain,
		ca_cert: tlsCert ? null : join(dataDir, "ca.pem"),
	};
	await writeFile(join(dataDir, "endpoints.json"), `${JSON.stringify(endpoints, null, "\t")}\n`);
	await writeFile(join(dataDir, "ssh_known_hosts"), `@cert-authority *.ssh.${domain} ${devboxes.hostCaPublicKey}\n`);
	state.ready = true;
	closers.push(async () => {
		state.ready = false;
	});
	return {
		endpoints,
		adminKeyFile: bootstrap.adminKeyFile,
		demo: () => demo({ config, store, devboxes, actor: bootstrap, ...ports }),
		close,
	};
}

function apiUrl({ domain }: Config, tlsPort: number): string {
	return `https://api.${domain}${tlsPort === 443 ? "" : `:${tlsPort}`}`;
}
