import { expect, test } from "vitest";
import { tunnelUrl } from "./tunnel-url.js";

const at = { domain: "gangway.example", httpMode: "redirect", tlsPort: 7443, httpPort: 7080 } as const;

test.each([
	[at, 3000, "https://3000-key.tunnel.gangway.example:7443"],
	[at, "{port}", "https://{port}-key.tunnel.gangway.example:7443"],
	[{ ...at, tlsPort: 443 }, 3000, "https://3000-key.tunnel.gangway.example"],
	[{ ...at, httpMode: "serve" }, 3000, "http://3000-key.tunnel.gangway.example:7080"],
	[{ ...at, httpMode: "serve", httpPort: 80 }, 3000, "http://3000-key.tunnel.gangway.example"],
] as const)("%j, port %s: %s", (address, port, url) => {
	expect(tunnelUrl(address, "key", port)).toBe(url);
});
