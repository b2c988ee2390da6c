import { defineConfig } from "vitest/config";

export default defineConfig({
	test: {
		testTimeout: 30_000,
		hookTimeout: 60_000,
		projects: [
			{
				extends: true,
				test: {
					name: "most",
					include: ["packages/*/src/**/*.test.ts", "tests/*.test.ts", "bench/**/*.test.ts"],
					// Many tests wait for processes and timers: on two cores two files side by side are quicker than one.
					maxWorkers: 2,
				},
			},
			{
				extends: true,
				test: {
					name: "browser",
					include: ["tests/browser/*.test.ts"],
					// Chromium breaks off what it does (ERR_NETWORK_CHANGED) when an interface appears, as with each box of another test.
					maxWorkers: 1,
					sequence: { groupOrder: 1 },
				},
			},
		],
	},
});
