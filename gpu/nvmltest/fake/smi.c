/* An nvidia-smi for tests: --query-gpu, --query-compute-apps, -lms and -l, as far as Berth uses them. */
#include "scenario.h"

struct column { const char *field, *key; double divisor; const char *format; };
static const struct column columns[] = {
	{"utilization.gpu", "utilization", 1, "%.0f"}, {"utilization.memory", "memory_utilization", 1, "%.0f"},
	{"memory.total", "memory_total", 1048576, "%.0f"}, {"memory.reserved", "memory_reserved", 1048576, "%.0f"},
	{"memory.used", "memory_used", 1048576, "%.0f"}, {"temperature.gpu", "temperature", 1, "%.0f"},
	{"temperature.memory", "memory_temperature", 1, "%.0f"}, {"fan.speed", "fan", 1, "%.0f"},
	{"power.draw", "power_mw", 1000, "%.2f"}, {"enforced.power.limit", "power_limit_mw", 1000, "%.2f"},
	{"clocks.sm", "sm_clock", 1, "%.0f"}, {"clocks.mem", "memory_clock", 1, "%.0f"},
	{"clocks.max.sm", "max_sm_clock", 1, "%.0f"}, {"clocks.max.memory", "max_memory_clock", 1, "%.0f"},
	{"utilization.encoder", "encoder", 1, "%.0f"}, {"utilization.decoder", "decoder", 1, "%.0f"},
	{"pcie.link.gen.current", "pcie_generation", 1, "%.0f"}, {"pcie.link.gen.gpucurrent", "pcie_generation", 1, "%.0f"},
	{"pcie.link.width.current", "pcie_width", 1, "%.0f"},
	{"ecc.errors.corrected.volatile.total", "ecc_volatile_corrected", 1, "%.0f"},
	{"ecc.errors.uncorrected.volatile.total", "ecc_volatile_uncorrected", 1, "%.0f"},
	{"ecc.errors.corrected.aggregate.total", "ecc_aggregate_corrected", 1, "%.0f"},
	{"ecc.errors.uncorrected.aggregate.total", "ecc_aggregate_uncorrected", 1, "%.0f"},
};

static int cell(struct device *d, const char *field) {
	u64 v;
	const char *w = NULL;
	if (!strcmp(field, "index")) return printf("%d", d->gpu), 1;
	if (!strcmp(field, "count")) return printf("%d", now.gpu_count), 1;
	if (!strcmp(field, "driver_version")) return fputs(now.driver, stdout), 1;
	if (!strcmp(field, "uuid") || !strcmp(field, "name")) w = word(d, field);
	else if (!strcmp(field, "pci.bus_id")) w = word(d, "pci");
	else if (!strcmp(field, "pstate")) return number(d, "pstate", &v) ? printf("[N/A]") : printf("P%llu", v), 1;
	else if (!strcmp(field, "clocks_throttle_reasons.active")) return number(d, "throttle", &v) ? printf("[N/A]") : printf("0x%016llx", v), 1;
	else if (!strcmp(field, "persistence_mode")) return fputs(number(d, "persistence", &v) ? "[N/A]" : v ? "Enabled" : "Disabled", stdout), 1;
	else if (!strcmp(field, "mig.mode.current")) return fputs(number(d, "mig_mode", &v) ? "[N/A]" : v ? "Enabled" : "Disabled", stdout), 1;
	else if (!strcmp(field, "ecc.mode.current")) return fputs(number(d, "ecc_mode", &v) ? "[N/A]" : v ? "Enabled" : "Disabled", stdout), 1;
	else if (!strcmp(field, "compute_mode")) {
		static const char *modes[] = {"Default", "Exclusive_Thread", "Prohibited", "Exclusive_Process"};
		return fputs(number(d, "compute_mode", &v) || v > 3 ? "[N/A]" : modes[v], stdout), 1;
	} else {
		for (size_t i = 0; i < sizeof columns / sizeof *columns; i++)
			if (!strcmp(field, columns[i].field)) {
				if (number(d, columns[i].key, &v)) fputs("[N/A]", stdout);
				else printf(columns[i].format, v / columns[i].divisor);
				return 1;
			}
		return 0;
	}
	fputs(w ? w : "[N/A]", stdout);
	return 1;
}

static int fields(struct device *d, const char *list) {
	char *copy = strdup(list), *save = NULL;
	int n = 0, ok = 1;
	for (char *f = strtok_r(copy, ",", &save); f && ok; f = strtok_r(NULL, ",", &save)) {
		if (n++) fputs(", ", stdout);
		if (!(ok = cell(d, f))) printf("Field \"%s\" is not a valid field to query.\n\n", f);
	}
	free(copy);
	return ok;
}

static int apps(const char *list) {
	for (int g = 0; g < now.gpu_count; g++)
		for (int s = 0; s <= now.mig_count[g]; s++) {
			struct device d = {g, 0};
			for (int i = 0; i < now.section[g][s].process_count; i++) {
				struct process *p = &now.section[g][s].processes[i];
				if (p->graphics) continue;
				if (strcmp(list, "gpu_uuid,pid,used_memory")) return 0;
				printf("%s, %u, ", word(&d, "uuid"), p->pid);
				if (p->memory == ~0ull) puts("[N/A]");
				else printf("%llu\n", p->memory >> 20);
			}
		}
	return 1;
}

int main(int argc, char **argv) {
	const char *query = NULL, *applications = NULL;
	int period = 0;
	for (int i = 1; i < argc; i++) {
		if (!strncmp(argv[i], "--query-gpu=", 12)) query = argv[i] + 12;
		else if (!strncmp(argv[i], "--query-compute-apps=", 21)) applications = argv[i] + 21;
		else if (!strcmp(argv[i], "-lms") && i + 1 < argc) period = atoi(argv[++i]);
		else if (strncmp(argv[i], "--format=", 9)) return printf("Invalid combination of input arguments: %s\n", argv[i]), 2;
	}
	if (!query && !applications) return 2;
	do {
		int bad;
		reload();
		if (matches(now.hang, now.hang_count, "nvidia-smi", -1) >= 0) { usleep(5000); continue; }
		if (!loaded) return puts("NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver."), 9;
		if ((bad = matches(now.fail, now.fail_count, "nvmlInit_v2", -1)) >= 0) {
			if (now.fail[bad].code == 18) puts("Failed to initialize NVML: Driver/library version mismatch");
			else printf("Failed to initialize NVML: Unknown Error\n");
			return now.fail[bad].code > 255 ? 255 : now.fail[bad].code;
		}
		if (!now.gpu_count) return puts("No devices were found"), 6;
		if (applications) { if (!apps(applications)) return 2; }
		else for (int g = 0; g < now.gpu_count; g++) {
			struct device d = {g, 0};
			char whole[8];
			snprintf(whole, sizeof whole, "*");
			if (matches(now.fail, now.fail_count, whole, g) >= 0) {
				printf("Unable to determine the device handle for GPU%d: %s: GPU is lost.  Reboot the system to recover this GPU\n", g, word(&d, "pci"));
				continue;
			}
			if (!fields(&d, query)) return 2;
			putchar('\n');
		}
		if (fflush(stdout)) return 1;
		if (period) usleep(period * 1000);
	} while (period);
	return 0;
}
