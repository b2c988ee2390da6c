import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Logger } from "pino";
import { Accounts } from "./accounts/index.js";
import { createApi } from "./api/index.js";
import { Audit } from "./audit/index.js";
import { type Config, checkTrustedRuntime, nameAsGiven } from "./config/index.js";
import { type Demo, demo } from "./demo.js";
import { Devboxes, Directory, Passes } from "./devboxes/index.js";
import { CertificateFiles, Edge, LocalCertificates, Names, tunnelUrl } from "./edge/index.js";
import { createRegistry, observe } from "./metrics.js";
import { openRuntime, resolveRuntime } from "./runtime/index.js";
import { Gateway, openHostKeys, Passthrough, SshConnections } from "./ssh/index.js";
import { IdempotencyKeys, loadMasterKey, openStore, Seal, secretStorage } from "./store/index.js";
import { createDecide, Limiter, Tunnel, trustedAddresses } from "./tunnel/index.js";
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
		throw nameAsGiven(error, config);
	}
}

async function start(
	config: Config,
	log: Logger,
	closers: (() => Promise<unknown>)[],
	close: () => Promise<void>,
): Promise<Daemon> {
	const { dataDir, domain } = config;
	checkTrustedRuntime(config, resolveRuntime(config.runtime));
	const drain = { graceMs: config.drainTimeout * 1000 };

	const store = await openStore({ url: config.databaseUrl, dataDir, log });
	closers.push(() => store.close());
	const seal = new Seal(await loadMasterKey({ dataDir, masterKey: config.masterKey, db: store.db }));
	const secrets = secretStorage(store.db, seal);
	const audit = new Audit({ store, log, retentionDays: config.auditRetention });
	audit.sweepHourly();
	closers.push(() => audit.close());
	const accounts = new Accounts({ store, dataDir, audit });
	const bootstrap = await accounts.bootstrap({ adminApiKey: config.adminApiKey });

	const runtime = await openRuntime({ dataDir, log });
	closers.push(() => runtime.close());
	const passes = new Passes(seal.deriveKey("tunnel passes"));
	const parts = { store, seal, secrets, passes, runtime, audit, log };
	const devboxes = await Devboxes.open({ ...config, ...parts, sshDomain: `ssh.${domain}` });
	closers.push(() => devboxes.close());
	const directory = new Directory(devboxes);

	const names = new Names({ domain, apiHosts: config.apiHosts });
	const limiter = new Limiter({
		addressRequests: config.tunnelAddressRequests,
		addressRate: config.tunnelAddressRate,
		tunnelRequests: config.tunnelRequests,
		tunnelRate: config.tunnelRate,
	});
	const sshConnections = new SshConnections({ directory });
	closers.push(async () => sshConnections.close());
	const headMs = config.tunnelHeadTimeout * 1000;
	const exempt = trustedAddresses(config.trustedProxies);
	const tunnel = new Tunnel({
		decide: createDecide({
			directory,
			passes,
			loopback: sshConnections,
			limiter,
			trustedProxies: config.trustedProxies,
			route: (authority) => {
				const name = names.parse(authority);
				return name.kind === "tunnel" ? name : undefined;
			},
		}),
		timeouts: {
			head: headMs,
			idleBody: config.tunnelIdleTimeout * 1000,
			firstByte: config.tunnelResponseTimeout * 1000,
		},
		limits: { clientsPerAddress: config.tunnelAddressConnections },
		exempt,
		log,
	});
	const passthrough = new Passthrough({ directory, idleTimeoutMs: config.sshIdleTimeout * 1000, audit, log });
	const hostKeys = await openHostKeys({ secrets, publicKeyFile: join(dataDir, "ssh_host_keys.pub") });
	const gateway = new Gateway({
		directory,
		access: accounts,
		hostKeys: hostKeys.privateKeys,
		limits: {
			addressRate: config.sshAddressRate,
			addressFailures: config.sshAddressFailures,
			userConnections: config.sshUserConnections,
			connectionSessions: config.sshConnectionSessions,
		},
		loginGraceMs: config.sshLoginGrace * 1000,
		idleTimeoutMs: config.sshIdleTimeout * 1000,
		audit,
		log,
	});
	devboxes.onStopped((devboxId) => {
		tunnel.drop(devboxId);
		passthrough.drop(devboxId);
		gateway.drop(devboxId);
		sshConnections.drop(devboxId);
	});
	devboxes.onKeyRotated((devboxId) => passthrough.drop(devboxId));
	accounts.onAccessRevoked(({ userId }) => {
		gateway.recheck(userId);
		void devboxes.rotateExposedKeys();
	});
	accounts.onPassthroughDisabled((teamId) => void dropTeam(devboxes, passthrough, teamId, log));
	devboxes.onTunnelRevoked((devboxId) => tunnel.drop(devboxId));
	devboxes.onShareLinkEnded((devboxId, shareLinkId) => tunnel.dropGrant(devboxId, shareLinkId));

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
	const urlOfTunnel = (key: string, port: number | "{port}") => tunnelUrl({ ...config, ...ports }, key, port);
	const api = await createApi({
		devboxes,
		accounts,
		idempotency,
		audit,
		metrics,
		ready: () => state.ready || "starting or stopping",
		tunnelUrl: urlOfTunnel,
		ssh: {
			connect: () => `${config.sshHost}:${ports.tlsPort}`,
			gateway: () => ({ host: config.sshHost, port: ports.sshPort }),
			gatewayHostKeys: hostKeys.publicKeys,
			hostCa: devboxes.hostCaPublicKey,
		},
		version,
		log,
	});
	closers.push(() => api.close());
	const edge = new Edge({
		...config,
		names,
		bind: [config.bind],
		certificates,
		limits: {
			headersMs: headMs,
			// Room to say so to who is over the tunnel's limit.
			maxConnectionsPerAddress: 2 * config.tunnelAddressConnections || Number.POSITIVE_INFINITY,
		},
		exempt,
		handlers: {
			api: api.handler,
			tunnel,
			passthrough: (label, socket) => passthrough.handle(label, socket),
			gateway: (socket, { peerAddress }) => gateway.handle(socket, peerAddress),
		},
		log,
	});
	// Together: the calls that the API holds would keep the edge waiting until it cuts them. The edge last: the others say why they end what it would only cut.
	closers.push(() => Promise.all([tunnel, passthrough, gateway, api, edge].map((part) => part.close(drain))));
	const ports = await edge.listen();
	await runtime.setEdgePorts([ports.tlsPort, ports.httpPort, ports.sshPort]);
	observe(metrics, { devboxes, edge, tunnel, limiter, passthrough, gateway, certificates, audit });

	const endpoints: Endpoints = {
		api_url: apiUrl(config, ports.tlsPort),
		tls_port: ports.tlsPort,
		http_port: ports.httpPort,
		ssh_port: ports.sshPort,
		domain,
		ca_cert: tlsCert ? null : join(dataDir, "ca.pem"),
	};
	await writeFile(join(dataDir, "endpoints.json"), `${JSON.stringify(endpoints, null, "\t")}\n`);
	const gatewayHost = ports.sshPort === 22 ? config.sshHost : `[${config.sshHost}]:${ports.sshPort}`;
	const knownHosts = [
		`@cert-authority *.ssh.${domain} ${devboxes.hostCaPublicKey}`,
		...hostKeys.publicKeys.map((key) => `${gatewayHost},ssh.${domain} ${key}`),
	];
	await writeFile(join(dataDir, "ssh_known_hosts"), knownHosts.map((line) => `${line}\n`).join(""));
	state.ready = true;
	closers.push(async () => {
		state.ready = false;
	});
	return {
		endpoints,
		adminKeyFile: bootstrap.adminKeyFile,
		demo: () => demo({ config, store, devboxes, actor: bootstrap, tlsPort: ports.tlsPort, tunnelUrl: urlOfTunnel }),
		close,
	};
}

async function dropTeam(devboxes: Devboxes, passthrough: Passthrough, teamId: string, log: Logger): Promise<void> {
	try {
		for (const devboxId of await devboxes.idsOfTeam(teamId)) passthrough.drop(devboxId);
	} catch (err) {
		log.error({ err, teamId }, "the passthrough sessions of a team could not be ended");
	}
}

function apiUrl({ domain }: Config, tlsPort: number): string {
	return `https://api.${domain}${tlsPort === 443 ? "" : `:${tlsPort}`}`;
}
