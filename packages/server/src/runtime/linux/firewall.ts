export interface FirewallRules {
	readonly table: string;
	/** Interfaces of boxes begin with this. */
	readonly prefix: string;
	/** The installation's network. */
	readonly block: string;
	/** TCP ports of this host that boxes may use. */
	readonly edgePorts: readonly number[];
}

/**
 * The rules of an installation as one nft transaction that replaces the table, so there is no moment without rules.
 * They name boxes by the prefix of their interfaces, so starting or stopping one changes nothing here.
 */
export function firewallRules({ table, prefix, block, edgePorts }: FirewallRules): string {
	const boxes = `"${prefix}*"`;
	const edge = edgePorts.length > 0 ? `iifname ${boxes} tcp dport { ${edgePorts.join(", ")} } accept` : "";
	return `
table inet ${table}
delete table inet ${table}
table inet ${table} {
	chain prerouting {
		type filter hook prerouting priority raw; policy accept;
		iifname ${boxes} meta nfproto != ipv4 drop
		# Foreign source address: the way back does not lead to where the packet came from.
		iifname ${boxes} fib saddr . iif oif missing drop
	}
	chain input {
		type filter hook input priority filter; policy accept;
		iifname ${boxes} ct state established,related accept
		${edge}
		iifname ${boxes} drop
	}
	chain forward {
		type filter hook forward priority filter; policy accept;
		iifname ${boxes} oifname ${boxes} drop
		# Link-local: cloud metadata services hand out the host's credentials there.
		iifname ${boxes} ip daddr { 127.0.0.0/8, 169.254.0.0/16 } drop
		iifname ${boxes} accept
		oifname ${boxes} ct state established,related accept
		oifname ${boxes} drop
	}
	chain output {
		type filter hook output priority filter; policy accept;
		oifname ${boxes} meta nfproto != ipv4 drop
	}
	chain postrouting {
		type nat hook postrouting priority srcnat; policy accept;
		ip saddr ${block} oifname != ${boxes} masquerade
	}
}
`;
}
