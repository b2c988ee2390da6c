/** How the world reaches the daemon. */
interface PublicAddress {
	readonly domain: string;
	readonly httpMode: "serve" | "redirect";
	readonly tlsPort: number;
	readonly httpPort: number;
}

/**
 * The URL of a tunnel's port, without a path. Where plain HTTP is served it is that: without a public certificate it is
 * what a browser shows without a warning.
 */
export function tunnelUrl(at: PublicAddress, tunnelKey: string, port: number | "{port}"): string {
	const plain = at.httpMode === "serve";
	const [scheme, listener, usual] = plain ? ["http", at.httpPort, 80] : ["https", at.tlsPort, 443];
	return `${scheme}://${port}-${tunnelKey}.tunnel.${at.domain}${listener === usual ? "" : `:${listener}`}`;
}
