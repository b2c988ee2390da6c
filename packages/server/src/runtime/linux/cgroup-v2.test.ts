import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { RuntimeError } from "../../errors.js";
import { CgroupsV2 } from "./cgroup-v2.js";

/** A tree of plain files: what is written where. That the kernel heeds it is cgroupfs's part; version 1 is tested for real. */
let root: string;
beforeEach(async () => {
	root = await mkdtemp(join(tmpdir(), "gangway-cgroup-"));
	await writeFile(join(root, "cgroup.controllers"), "cpuset cpu io memory hugetlb pids rdma\n");
});
afterEach(() => rm(root, { recursive: true }));

const text = (...path: string[]) => readFile(join(root, ...path), "utf8");

it("enables the controllers down to the installation's group", async () => {
	await new CgroupsV2(root, "gangway-test").open();
	expect(await text("cgroup.subtree_control")).toBe("+memory +cpu +pids");
	expect(await text("gangway-test", "cgroup.subtree_control")).toBe("+memory +cpu +pids");
	expect(await readdir(join(root, "gangway-test"))).toContain("_launchers");
});

it("limits a box", async () => {
	const cgroups = new CgroupsV2(root, "gangway-test");
	await cgroups.open();
	await cgroups.create("dbx_a", { cpus: 0.5, memoryBytes: 1024 ** 3, maxProcesses: 100 });
	expect(await text("gangway-test", "dbx_a", "memory.max")).toBe("1073741824");
	expect(await text("gangway-test", "dbx_a", "memory.swap.max")).toBe("0");
	expect(await text("gangway-test", "dbx_a", "cpu.max")).toBe("50000 100000");
	expect(await text("gangway-test", "dbx_a", "pids.max")).toBe("100");
	expect(cgroups.directories("dbx_a")).toEqual([join(root, "gangway-test", "dbx_a")]);
	expect(await cgroups.list()).toEqual(["dbx_a"]);
});

it("counts the kills for memory", async () => {
	const cgroups = new CgroupsV2(root, "gangway-test");
	await mkdir(join(root, "gangway-test", "dbx_a"), { recursive: true });
	expect(await cgroups.oomKills("dbx_a")).toBe(0);
	await writeFile(
		join(root, "gangway-test", "dbx_a", "memory.events"),
		"low 0\nmax 9\noom 3\noom_kill 2\noom_group_kill 0\n",
	);
	expect(await cgroups.oomKills("dbx_a")).toBe(2);
});

it("names the controller that is missing", async () => {
	await writeFile(join(root, "cgroup.controllers"), "cpu io memory\n");
	const error = await new CgroupsV2(root, "gangway-test").open().catch((thrown: unknown) => thrown);
	expect(error).toBeInstanceOf(RuntimeError);
	expect(error).toMatchObject({ code: "unsupported_host", message: expect.stringContaining('"pids"') });
});

it("removes an empty group, and one that is gone", async () => {
	const cgroups = new CgroupsV2(root, "gangway-test");
	await mkdir(join(root, "gangway-test", "dbx_a"), { recursive: true });
	await cgroups.remove("dbx_a");
	await cgroups.remove("dbx_a");
	expect(await cgroups.list()).toEqual([]);
});
