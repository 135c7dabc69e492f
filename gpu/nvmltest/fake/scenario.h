/* The scenario that both fakes read: a text file that a test replaces while they run. scenario.go writes it. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { SUCCESS = 0, UNINITIALIZED = 1, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, INSUFFICIENT_SIZE = 7,
	DRIVER_NOT_LOADED = 9, TIMEOUT = 10, GPU_IS_LOST = 15, UNKNOWN = 999 };
enum { GPUS = 16, MIGS = 8, SLOTS = MIGS + 1 };
typedef unsigned long long u64;

struct pair { char *key, *value; };
struct process { int graphics; unsigned pid; u64 memory; unsigned gi, ci; };
struct sample { unsigned pid; u64 at; unsigned sm, memory, encoder, decoder; };
struct section { /* a GPU, or a MIG device of one */
	struct pair pairs[80];
	int pair_count;
	struct process processes[256];
	int process_count;
	struct sample samples[256];
	int sample_count;
};
struct rule { char function[64]; int gpu, code; };
struct event { u64 number, type, data; int gpu; };
struct scenario {
	char driver[80];
	int cuda, gpu_count, mig_count[GPUS], topology[GPUS][GPUS];
	struct section section[GPUS][SLOTS]; /* slot 0 is the GPU itself */
	struct rule fail[256], hang[64];
	int fail_count, hang_count, event_count;
	struct event event[256];
};
struct device { int gpu, slot; };

static struct scenario now;
static char *text;
static struct stat seen;
static int loaded;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

static int lock(void) { return pthread_mutex_lock(&mutex); }
static void unlock(int *unused) { (void)unused; pthread_mutex_unlock(&mutex); }
#define LOCKED __attribute__((cleanup(unlock), unused)) int locked_ = lock()

static u64 microseconds(void) {
	struct timespec t;
	clock_gettime(CLOCK_REALTIME, &t);
	return (u64)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static int add_rule(struct rule *rules, int *count, int most, char *where, int code) {
	char *colon = strchr(where, ':');
	struct rule *r = &rules[*count];
	if (*count >= most) return -1;
	r->gpu = colon ? atoi(where) : -1;
	r->code = code;
	snprintf(r->function, sizeof r->function, "%s", colon ? colon + 1 : where);
	++*count;
	return 0;
}

static void parse_line(char *line, struct section **in) {
	char *value = strchr(line, ' ');
	int a, b, c;
	if (!value) return;
	*value++ = 0;
	if (!strcmp(line, "driver")) snprintf(now.driver, sizeof now.driver, "%s", value);
	else if (!strcmp(line, "cuda")) now.cuda = atoi(value);
	else if (!strcmp(line, "gpu") && now.gpu_count < GPUS) *in = &now.section[now.gpu_count++][0];
	else if (!strcmp(line, "mig") && now.gpu_count > 0) {
		int g = now.gpu_count - 1;
		if (now.mig_count[g] < MIGS) *in = &now.section[g][++now.mig_count[g]];
	} else if (!strcmp(line, "topology") && sscanf(value, "%d %d %d", &a, &b, &c) == 3 && a >= 0 && a < GPUS && b >= 0 && b < GPUS)
		now.topology[a][b] = now.topology[b][a] = c;
	else if (!strcmp(line, "fail")) {
		char *code = strchr(value, ' ');
		if (!code) return;
		*code++ = 0;
		add_rule(now.fail, &now.fail_count, 256, value, atoi(code));
	} else if (!strcmp(line, "hang")) add_rule(now.hang, &now.hang_count, 64, value, 0);
	else if (!strcmp(line, "event") && now.event_count < 256) {
		struct event *e = &now.event[now.event_count];
		if (sscanf(value, "%llu %d %llu %llu", &e->number, &e->gpu, &e->type, &e->data) == 4) now.event_count++;
	} else if (!*in) return;
	else if (!strcmp(line, "process") && (*in)->process_count < 256) {
		struct process *p = &(*in)->processes[(*in)->process_count];
		if (sscanf(value, "%d %u %llu %u %u", &p->graphics, &p->pid, &p->memory, &p->gi, &p->ci) == 5) (*in)->process_count++;
	} else if (!strcmp(line, "sample") && (*in)->sample_count < 256) {
		struct sample *s = &(*in)->samples[(*in)->sample_count];
		if (sscanf(value, "%u %llu %u %u %u %u", &s->pid, &s->at, &s->sm, &s->memory, &s->encoder, &s->decoder) == 6) (*in)->sample_count++;
	} else if ((*in)->pair_count < 80)
		(*in)->pairs[(*in)->pair_count++] = (struct pair){line, value};
}

/* reload reads the scenario again if the file was replaced. */
static void reload(void) {
	const char *path = getenv("FAKE_NVML_SCENARIO");
	struct stat st;
	struct section *in = NULL;
	FILE *f;
	if (!path || stat(path, &st)) { loaded = 0; memset(&seen, 0, sizeof seen); return; }
	if (loaded && st.st_ino == seen.st_ino && st.st_mtim.tv_nsec == seen.st_mtim.tv_nsec && st.st_mtim.tv_sec == seen.st_mtim.tv_sec) return;
	if (!(f = fopen(path, "r"))) { loaded = 0; return; }
	fstat(fileno(f), &st);
	free(text);
	text = calloc(1, st.st_size + 1);
	memset(&now, 0, sizeof now);
	if (fread(text, 1, st.st_size, f) == (size_t)st.st_size) {
		char *save = NULL;
		for (char *l = strtok_r(text, "\n", &save); l; l = strtok_r(NULL, "\n", &save)) parse_line(l, &in);
		loaded = 1;
	}
	fclose(f);
	seen = st;
}

static int matches(struct rule *rules, int count, const char *function, int gpu) {
	for (int i = 0; i < count; i++)
		if ((rules[i].gpu < 0 || rules[i].gpu == gpu) && (!strcmp(rules[i].function, function) || !strcmp(rules[i].function, "*")))
			return i;
	return -1;
}

static const char *word(struct device *d, const char *key) {
	struct section *s = &now.section[d->gpu][d->slot];
	for (int i = 0; i < s->pair_count; i++)
		if (!strcmp(s->pairs[i].key, key)) return s->pairs[i].value;
	return NULL;
}

static int number(struct device *d, const char *key, u64 *out) {
	const char *v = word(d, key);
	if (!v) return NOT_SUPPORTED;
	*out = strtoull(v, NULL, 10);
	return SUCCESS;
}
