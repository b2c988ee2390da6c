import { expect, it } from "vitest";
import { planMounts } from "./mount-plan.js";
import { parseMounts } from "./mounts.js";

const input = {
	disk: "/data dir/devboxes/dbx_a/disk",
	etc: "/data dir/linux/etc-0",
	layers: [{ path: "/usr" }, { path: "/usr/local" }],
	topLevel: ["/lib64"],
	sys: [],
	proc: ["1", "cpuinfo", "sys", "kcore", "scsi", "from-a-new-module"],
};

function targets(fstab: string): Map<string, string> {
	return new Map(
		fstab
			.trim()
			.split("\n")
			.map((line) => [line.split(" ")[1] ?? "", line]),
	);
}

it("stacks the layers in order, each on directories of its own", () => {
	const stage = targets(planMounts(input).stage);
	expect(stage.get("/sys/layers/1")).toContain(
		"lowerdir=/usr/local,upperdir=/sys/disk/layers/%2Fusr%2Flocal/upper,workdir=/sys/disk/layers/%2Fusr%2Flocal/work",
	);
	expect(stage.get("/sys/layers/2")).toContain("lowerdir=/sys/etc,");
	const { box, nested } = planMounts(input);
	expect([...targets(box).keys()].slice(0, 3)).toEqual(["/box", "/box/usr", "/box/etc"]);
	expect(nested).toEqual(["1:/usr/local"]);
});

it("keeps blanks in paths", () => {
	expect(planMounts(input).stage).toContain("/data\\040dir/devboxes/dbx_a/disk /sys/disk none bind");
});

it("masks all of /proc that is not on its list", () => {
	const box = targets(planMounts(input).box);
	expect(box.get("/box/proc/sys")).toContain("bind,ro,");
	for (const name of ["kcore", "from-a-new-module"]) expect(box.get(`/box/proc/${name}`)).toMatch(/^\/null /);
	expect(box.get("/box/proc/scsi")).toMatch(/^tmpfs .* tmpfs ro,/);
	expect(box.has("/box/proc/cpuinfo")).toBe(false);
});

it("lets no file of the host be written, and no device of a disk be used", () => {
	const lines = planMounts(input).stage.trim().split("\n");
	for (const line of lines.filter((entry) => / none bind/.test(entry) && !entry.includes(" /sys/disk ")))
		expect(line).toContain("bind,ro");
	for (const line of lines.filter((entry) => entry.startsWith("overlay"))) expect(line).toContain("nodev");
});

it("reads mounts with blanks in their paths", () => {
	const info = `31 23 0:28 / /mnt/a\\040b rw - ext4 /dev/vda rw\n35 31 0:32 / /sys/fs/cgroup/memory rw shared:1 - cgroup cgroup rw,memory\n`;
	expect(parseMounts(info)).toEqual([
		{ path: "/mnt/a b", type: "ext4", superOptions: ["rw"] },
		{ path: "/sys/fs/cgroup/memory", type: "cgroup", superOptions: ["rw", "memory"] },
	]);
});
