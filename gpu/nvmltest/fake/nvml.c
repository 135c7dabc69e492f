/* A libnvidia-ml.so.1 for tests: it answers what the scenario says (scenario.h). Functions that a test
   wants missing are renamed by the compiler's -D. Only what Berth calls is here, with the layouts of the
   public header. */
#include "scenario.h"
#include <libgen.h>
#include <poll.h>
#include <sys/inotify.h>

static struct device devices[GPUS][SLOTS];
static int users; /* Init calls without a Shutdown */

static int enter(const char *function, struct device *d) {
	int gpu = d ? d->gpu : -1, i;
	reload();
	while (loaded && matches(now.hang, now.hang_count, function, gpu) >= 0) {
		pthread_mutex_unlock(&mutex);
		usleep(5000);
		pthread_mutex_lock(&mutex);
		reload();
	}
	if (!loaded) return DRIVER_NOT_LOADED;
	if ((i = matches(now.fail, now.fail_count, function, gpu)) >= 0) return now.fail[i].code;
	if (d && (d->gpu >= now.gpu_count || d->slot > now.mig_count[d->gpu])) return GPU_IS_LOST;
	return SUCCESS;
}
#define ENTER(d) LOCKED; { int r_ = enter(__func__, d); if (r_) return r_; if (!users) return UNINITIALIZED; }

static int init(void) {
	LOCKED;
	int r = enter("nvmlInit_v2", NULL);
	if (!r) users++;
	return r;
}
int nvmlInit(void) { return init(); }
int nvmlInit_v2(void) { return init(); }
int nvmlInitWithFlags(unsigned flags) { (void)flags; return init(); }
int nvmlShutdown(void) { ENTER(NULL); users--; return SUCCESS; }
const char *nvmlErrorString(int r) {
	static __thread char s[32];
	snprintf(s, sizeof s, "return code %d", r);
	return s;
}
int nvmlSystemGetDriverVersion(char *out, unsigned n) { ENTER(NULL); snprintf(out, n, "%s", now.driver); return SUCCESS; }
int nvmlSystemGetCudaDriverVersion_v2(int *out) { ENTER(NULL); *out = now.cuda; return now.cuda ? SUCCESS : NOT_SUPPORTED; }
int nvmlDeviceGetCount_v2(unsigned *out) { ENTER(NULL); *out = now.gpu_count; return SUCCESS; }
int nvmlDeviceGetHandleByIndex_v2(unsigned i, struct device **out) {
	struct device *d = i < GPUS ? &devices[i][0] : NULL;
	if (!d) return INVALID_ARGUMENT;
	d->gpu = i; d->slot = 0;
	ENTER(d);
	*out = d;
	return SUCCESS;
}

static int copy(struct device *d, const char *key, char *out, unsigned n) {
	const char *v = word(d, key);
	if (!v) return NOT_SUPPORTED;
	if (strlen(v) >= n) return INSUFFICIENT_SIZE;
	strcpy(out, v);
	return SUCCESS;
}
int nvmlDeviceGetName(struct device *d, char *out, unsigned n) { ENTER(d); return copy(d, "name", out, n); }
int nvmlDeviceGetUUID(struct device *d, char *out, unsigned n) { ENTER(d); return copy(d, "uuid", out, n); }

struct pci { char legacy[16]; unsigned domain, bus, device, id, subsystem; char bus_id[32]; };
int nvmlDeviceGetPciInfo_v3(struct device *d, struct pci *out) {
	ENTER(d);
	memset(out, 0, sizeof *out);
	return copy(d, "pci", out->bus_id, sizeof out->bus_id);
}

static int narrow(struct device *d, const char *key, unsigned *out) {
	u64 v;
	int r = number(d, key, &v);
	if (!r) *out = (unsigned)v;
	return r;
}
#define NUMBER(function, key) int function(struct device *d, unsigned *out) { ENTER(d); return narrow(d, key, out); }
NUMBER(nvmlDeviceGetFanSpeed, "fan")
NUMBER(nvmlDeviceGetPowerUsage, "power_mw")
NUMBER(nvmlDeviceGetEnforcedPowerLimit, "power_limit_mw")
NUMBER(nvmlDeviceGetPerformanceState, "pstate")
NUMBER(nvmlDeviceGetCurrPcieLinkGeneration, "pcie_generation")
NUMBER(nvmlDeviceGetCurrPcieLinkWidth, "pcie_width")
NUMBER(nvmlDeviceGetPersistenceMode, "persistence")
NUMBER(nvmlDeviceGetComputeMode, "compute_mode")
NUMBER(nvmlDeviceGetGpuInstanceId, "gpu_instance")
NUMBER(nvmlDeviceGetComputeInstanceId, "compute_instance")
#define WIDE(function, key) int function(struct device *d, u64 *out) { ENTER(d); return number(d, key, out); }
WIDE(nvmlDeviceGetTotalEnergyConsumption, "energy_mj")
WIDE(nvmlDeviceGetCurrentClocksEventReasons, "throttle")
WIDE(nvmlDeviceGetCurrentClocksThrottleReasons, "throttle")
#define TWO(function, key, second) int function(struct device *d, unsigned *out, unsigned *b) { ENTER(d); *b = second; return narrow(d, key, out); }
TWO(nvmlDeviceGetEncoderUtilization, "encoder", 167000)
TWO(nvmlDeviceGetDecoderUtilization, "decoder", 167000)
TWO(nvmlDeviceGetEccMode, "ecc_mode", 0)
TWO(nvmlDeviceGetMigMode, "mig_mode", 0)

int nvmlDeviceGetTemperature(struct device *d, unsigned sensor, unsigned *out) { ENTER(d); return sensor ? INVALID_ARGUMENT : narrow(d, "temperature", out); }
struct temperature { unsigned version, sensor; int value; };
int nvmlDeviceGetTemperatureV(struct device *d, struct temperature *t) {
	unsigned v;
	ENTER(d);
	if (t->version != (sizeof *t | 1 << 24)) return 25;
	int r = narrow(d, "temperature", &v);
	if (!r) t->value = (int)v;
	return r;
}
int nvmlDeviceGetTemperatureThreshold(struct device *d, unsigned kind, unsigned *out) { ENTER(d); return kind == 1 ? narrow(d, "slowdown_temperature", out) : NOT_SUPPORTED; }
static int clock_of(struct device *d, const char *which, unsigned kind, unsigned *out) {
	char key[32];
	if (kind != 1 && kind != 2) return NOT_SUPPORTED;
	snprintf(key, sizeof key, "%s%s", which, kind == 1 ? "sm_clock" : "memory_clock");
	return narrow(d, key, out);
}
int nvmlDeviceGetClockInfo(struct device *d, unsigned kind, unsigned *out) { ENTER(d); return clock_of(d, "", kind, out); }
int nvmlDeviceGetMaxClockInfo(struct device *d, unsigned kind, unsigned *out) { ENTER(d); return clock_of(d, "max_", kind, out); }

struct utilization { unsigned gpu, memory; };
int nvmlDeviceGetUtilizationRates(struct device *d, struct utilization *out) {
	ENTER(d);
	int r = narrow(d, "utilization", &out->gpu);
	return r ? r : narrow(d, "memory_utilization", &out->memory);
}
struct memory { u64 total, free, used; };
struct memory2 { unsigned version; u64 total, reserved, free, used; };
static int memory_of(struct device *d, struct memory2 *m) {
	int r = number(d, "memory_total", &m->total);
	m->reserved = m->used = 0;
	number(d, "memory_reserved", &m->reserved);
	if (!r) r = number(d, "memory_used", &m->used);
	m->free = m->total - m->used - m->reserved;
	return r;
}
int nvmlDeviceGetMemoryInfo_v2(struct device *d, struct memory2 *out) {
	ENTER(d);
	return out->version == (sizeof *out | 2 << 24) ? memory_of(d, out) : 25;
}
int nvmlDeviceGetMemoryInfo(struct device *d, struct memory *out) {
	struct memory2 m;
	ENTER(d);
	int r = memory_of(d, &m);
	if (!r) *out = (struct memory){m.total, m.free, m.used + m.reserved};
	return r;
}

/* The true call counts for 20 ms. */
int nvmlDeviceGetPcieThroughput(struct device *d, unsigned counter, unsigned *out) {
	{ ENTER(d); int r = narrow(d, counter ? "pcie_rx" : "pcie_tx", out); if (r) return r; }
	usleep(20000);
	return SUCCESS;
}
int nvmlDeviceGetTotalEccErrors(struct device *d, unsigned kind, unsigned counter, u64 *out) {
	char key[32];
	ENTER(d);
	snprintf(key, sizeof key, "ecc_%s_%s", counter ? "aggregate" : "volatile", kind ? "uncorrected" : "corrected");
	return number(d, key, out);
}
int nvmlDeviceGetRemappedRows(struct device *d, unsigned *corrected, unsigned *uncorrected, unsigned *pending, unsigned *failed) {
	ENTER(d);
	int r = narrow(d, "remapped_corrected", corrected);
	if (!r) r = narrow(d, "remapped_uncorrected", uncorrected);
	if (!r) r = narrow(d, "remap_pending", pending);
	return r ? r : narrow(d, "remap_failed", failed);
}

struct field { unsigned id, scope; long long at, latency; unsigned type; int result; union { double d; unsigned ui; u64 ull; } value; };
int nvmlDeviceGetFieldValues(struct device *d, int n, struct field *f) {
	ENTER(d);
	for (int i = 0; i < n; i++, f++) {
		u64 rate;
		unsigned v;
		f->at = microseconds();
		f->result = NOT_SUPPORTED;
		if (f->id == 82 && (f->result = narrow(d, "memory_temperature", &v)) == SUCCESS) { f->type = 1; f->value.ui = v; }
		/* The counter of all links, in KiB, that grows at the scenario's rate. */
		if ((f->id == 138 || f->id == 139) && f->scope == 0xFFFFFFFF && (f->result = number(d, f->id == 138 ? "nvlink_tx" : "nvlink_rx", &rate)) == SUCCESS) {
			f->type = 3;
			f->value.ull = (u64)((unsigned __int128)f->at * rate / 1000000);
		}
	}
	return SUCCESS;
}
int nvmlDeviceGetNvLinkState(struct device *d, unsigned link, unsigned *out) {
	u64 links;
	ENTER(d);
	int r = number(d, "nvlinks", &links);
	if (r) return r;
	if (link >= 18) return INVALID_ARGUMENT;
	*out = link < links;
	return SUCCESS;
}
/* All links of a GPU go to one place: a switch, or the GPU whose address nvlink_remote has. */
int nvmlDeviceGetNvLinkRemoteDeviceType(struct device *d, unsigned link, unsigned *out) { (void)link; ENTER(d); *out = word(d, "nvlink_remote") ? 0 : 2; return SUCCESS; }
int nvmlDeviceGetNvLinkRemotePciInfo_v2(struct device *d, unsigned link, struct pci *out) {
	(void)link;
	ENTER(d);
	memset(out, 0, sizeof *out);
	return copy(d, "nvlink_remote", out->bus_id, sizeof out->bus_id);
}
int nvmlDeviceGetTopologyCommonAncestor(struct device *a, struct device *b, unsigned *out) { ENTER(a); *out = now.topology[a->gpu][b->gpu]; return *out ? SUCCESS : NOT_SUPPORTED; }

int nvmlDeviceGetMaxMigDeviceCount(struct device *d, unsigned *out) { ENTER(d); *out = word(d, "mig_mode") ? MIGS : 0; return SUCCESS; }
int nvmlDeviceGetMigDeviceHandleByIndex(struct device *d, unsigned i, struct device **out) {
	ENTER(d);
	if (i >= (unsigned)now.mig_count[d->gpu]) return NOT_FOUND;
	*out = &devices[d->gpu][i + 1];
	**out = (struct device){d->gpu, (int)i + 1};
	return SUCCESS;
}

struct process1 { unsigned pid; u64 memory; };
struct process3 { unsigned pid; u64 memory; unsigned gi, ci; };
static int processes(struct device *d, int graphics, int old, unsigned *n, void *out) {
	struct section *s = &now.section[d->gpu][d->slot];
	unsigned have = 0, room = *n;
	for (int i = 0; i < s->process_count; i++) have += s->processes[i].graphics == graphics;
	*n = have;
	if (have > room || (have && !out)) return INSUFFICIENT_SIZE;
	for (int i = 0, k = 0; i < s->process_count; i++) {
		struct process *p = &s->processes[i];
		if (p->graphics != graphics) continue;
		if (old) ((struct process1 *)out)[k++] = (struct process1){p->pid, p->memory};
		else ((struct process3 *)out)[k++] = (struct process3){p->pid, p->memory, p->gi, p->ci};
	}
	return SUCCESS;
}
#define PROCESSES(function, graphics, old) int function(struct device *d, unsigned *n, void *out) { ENTER(d); return processes(d, graphics, old, n, out); }
PROCESSES(nvmlDeviceGetComputeRunningProcesses, 0, 1)
PROCESSES(nvmlDeviceGetComputeRunningProcesses_v2, 0, 0)
PROCESSES(nvmlDeviceGetComputeRunningProcesses_v3, 0, 0)
PROCESSES(nvmlDeviceGetGraphicsRunningProcesses, 1, 1)
PROCESSES(nvmlDeviceGetGraphicsRunningProcesses_v2, 1, 0)
PROCESSES(nvmlDeviceGetGraphicsRunningProcesses_v3, 1, 0)

int nvmlDeviceGetProcessUtilization(struct device *d, struct sample *out, unsigned *n, u64 after) {
	unsigned have = 0;
	u64 t = microseconds();
	ENTER(d);
	struct section *s = &now.section[d->gpu][d->slot];
	if (word(d, "mig_mode") && atoi(word(d, "mig_mode"))) return NOT_SUPPORTED;
	if (!out) { *n = 100; return INSUFFICIENT_SIZE; } /* the size of the driver's ring */
	/* A sample without a time was taken right now. */
	for (int i = 0; i < s->sample_count && have < *n; i++) {
		struct sample p = s->samples[i];
		if (!p.at) p.at = t;
		if (p.at > after) out[have++] = p;
	}
	*n = have;
	return have ? SUCCESS : NOT_FOUND;
}

struct set { unsigned gpus; u64 types, last; int changes; };
struct event_data { struct device *device; u64 type, data; unsigned gi, ci; };
int nvmlEventSetCreate(struct set **out) {
	ENTER(NULL);
	*out = calloc(1, sizeof **out);
	(*out)->changes = inotify_init1(IN_NONBLOCK | IN_CLOEXEC); /* as the driver, it sleeps until something happens */
	char *path = strdup(getenv("FAKE_NVML_SCENARIO"));
	inotify_add_watch((*out)->changes, dirname(path), IN_MOVED_TO | IN_CLOSE_WRITE);
	free(path);
	for (int i = 0; i < now.event_count; i++) /* what happened before is not told */
		if (now.event[i].number > (*out)->last) (*out)->last = now.event[i].number;
	return SUCCESS;
}
int nvmlDeviceRegisterEvents(struct device *d, u64 types, struct set *s) { ENTER(d); s->gpus |= 1u << d->gpu; s->types |= types; return SUCCESS; }
int nvmlEventSetFree(struct set *s) { close(s->changes); free(s); return SUCCESS; }
int nvmlEventSetWait_v2(struct set *s, struct event_data *out, unsigned ms) {
	u64 end = microseconds() + ms * 1000ull;
	char discard[4096];
	for (;;) {
		{
			ENTER(NULL);
			for (int i = 0; i < now.event_count; i++) {
				struct event *e = &now.event[i];
				if (e->number <= s->last || e->gpu < 0 || e->gpu >= GPUS || !(s->gpus & 1u << e->gpu) || !(s->types & e->type)) continue;
				s->last = e->number;
				*out = (struct event_data){&devices[e->gpu][0], e->type, e->data, 0xFFFFFFFF, 0xFFFFFFFF};
				return SUCCESS;
			}
		}
		u64 t = microseconds();
		if (t >= end) return TIMEOUT;
		struct pollfd p = {s->changes, POLLIN, 0};
		poll(&p, 1, (end - t + 999) / 1000);
		while (read(s->changes, discard, sizeof discard) > 0) {}
	}
}
