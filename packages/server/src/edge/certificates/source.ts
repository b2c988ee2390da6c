/** A certificate chain and its key, PEM. */
export interface KeyPair {
	readonly cert: string;
	readonly key: string;
}

/** Where the TLS port takes its certificate from. */
export interface CertificateSource {
	readonly current: KeyPair;
	/** When the certificate in use expires, ms since the epoch; for `/metrics`. */
	readonly expiresAtMs: number;
	/** Called with each new certificate. One listener: the edge. */
	onChange(listener: (pair: KeyPair) => void): void;
	/** Stops watching and renewing; the current certificate stays. */
	close(): Promise<void>;
}
