/* A libnvidia-ml.so.1 without a GPU: GPUs that do what a script says, for the real pynvml.
 *
 * The script is the file named in FAKE_NVML, read when nvmlInit finds no one using the library.
 * One "key value..." per line; "device UUID" starts a GPU and later lines describe it:
 *
 *   driver TEXT          the driver's version; before the first device
 *   name TEXT            power W [T W]...      W watts from the start, then W from second T on
 *   square PERIOD DUTY HIGH LOW                instead of power: a square wave
 *   tick S               period of the energy counter
 *   sample PERIOD WINDOW period of the power sensor, and how much of it the sensor looks at
 *   gain G               the energy counter reports G times the truth
 *   sensor_gain G        so does the power sensor
 *   start_mj N           the counter's first value
 *   counter ok|unsupported|module              "module": it includes module_extra
 *   stall_at T [U]       the counter stops; from U on it goes on from there
 *   jump_at T MJ         it is MJ higher from then on
 *   reset_at T           it starts again at 0
 *   lost_at T            every call says GPU_IS_LOST from then on
 *   field ok|unsupported power fields (185, 186)  usage ok|unsupported  nvmlDeviceGetPowerUsage
 *   module_extra W       what the module draws beside the GPU; MODULE scope exists with it only
 *   temperature C [C_PER_S]   clocks SM MEM [T SM MEM]   throttle BITS [T BITS [U]]   until U
 *   throttle_time fields|policy|unsupported    what counts how long: one field a reason, or the thermal policy alone
 *   utilization PERCENT  process PID BYTES [SM_PERCENT [T U]]   there from T until U
 *   processes_at T       they appear at T
 *   mps_client PID BYTES computes through an MPS server, which is a process beside it
 *   process_use ok|unsupported|denied|empty   whether each process's use of the GPU is told; empty: that of none is
 *   mig 0|1              mig_uuid MIG-UUID     virtualization N
 *   limit W MIN MAX      the power limit, which power never exceeds
 *   default_limit W      setters ok|denied|unsupported   power limit and clock lock
 *   max_sm MHZ           setting_delay S      what was set is reported, and holds, S seconds later
 *   state FILE           settings live in FILE, as a driver's do: other processes see them
 *
 * Time is CLOCK_MONOTONIC since nvmlInit, or what fake_nvml_time() last set.
 */
#include <math.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MAX_DEVICES 8
#define MAX_STEPS 32
#define MAX_CAPS (1 << 16)
#define MAX_PROCESSES 8

enum { SUCCESS = 0, UNINITIALIZED = 1, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NO_PERMISSION = 4,
       NOT_FOUND = 6, INSUFFICIENT_SIZE = 7, GPU_IS_LOST = 15, UNKNOWN = 999 };
enum { FIELD_ENERGY = 83, FIELD_POWER_AVERAGE = 185, FIELD_POWER_INSTANT = 186,
       FIELD_THERMAL_POLICY = 75, FIELD_SW_THERMAL = 269, FIELD_HW_THERMAL = 270, FIELD_POWER_BRAKE = 271 };
enum { HW_SLOWDOWN = 0x8, SW_THERMAL = 0x20, HW_THERMAL = 0x40, POWER_BRAKE = 0x80 };
enum { POLICY_THERMAL = 1 };
enum { SCOPE_GPU = 0, SCOPE_MODULE = 1 };

typedef struct { double from_s, joules; unsigned mw; } Cap; /* joules until then */

typedef struct {
    char uuid[96], name[96], mig_uuid[96];
    int steps;
    double step_s[MAX_STEPS], step_w[MAX_STEPS];
    double period_s, duty, high_w, low_w;
    double tick_s, sample_period_s, sample_window_s, gain, sensor_gain;
    unsigned long long start_mj;
    int counter_unsupported, counter_module, field_unsupported, usage_unsupported, denied;
    double stall_at, stall_end, reset_at, lost_at, jump_at, jump_mj, module_extra_w;
    double temperature_c, temperature_slope;
    unsigned sm_mhz, mem_mhz, later_sm_mhz, later_mem_mhz, utilization;
    double clocks_at, throttle_at, throttle_end, processes_at;
    int reason_times, policy_times;
    unsigned long long throttle, later_throttle;
    int processes;
    unsigned pids[MAX_PROCESSES];
    unsigned long long bytes[MAX_PROCESSES];
    unsigned use[MAX_PROCESSES];
    double from[MAX_PROCESSES], until[MAX_PROCESSES], use_told_s;
    int clients;
    unsigned client_pids[MAX_PROCESSES];
    unsigned long long client_bytes[MAX_PROCESSES];
    int use_unsupported, use_empty;
    unsigned mig;
    int capability; /* times 10 */
    unsigned long long virtualization;
    unsigned min_mw, max_mw, default_mw, max_sm_mhz;
    int setters_unsupported;
    double setting_delay;
    char state_file[256];
    struct { unsigned mw, mhz, old_mw, old_mhz; double mw_at, mhz_at; } set; /* 0 MHz: not locked */
    Cap *caps; /* every limit that held power back, in order */
    int caps_known;
} Device;

typedef struct { unsigned pid; unsigned long long bytes; unsigned gpu, compute; } Process;
typedef union { double d; unsigned ui; unsigned long ul; unsigned long long ull; } Value;
typedef struct {
    uint32_t field, scope;
    int64_t timestamp_us, latency_us;
    uint32_t type, result;
    Value value;
} Field;

static Device devices[MAX_DEVICES];
static int count, users;
static double origin_s, virtual_s = -1;

void fake_nvml_time(double seconds) { virtual_s = seconds; }

static double wall_s(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static double now_s(void) { return virtual_s >= 0 ? virtual_s : wall_s() - origin_s; }

static double common_s(void) { return virtual_s >= 0 ? virtual_s : wall_s(); } /* to all processes */

/* ---- the script ---- */

static void device_defaults(Device *d, const char *uuid) {
    Cap *caps = d->caps; /* of an earlier script, whose time is over */
    memset(d, 0, sizeof *d);
    d->caps = caps ? caps : calloc(MAX_CAPS, sizeof *caps);
    if (!d->caps) abort();
    snprintf(d->uuid, sizeof d->uuid, "%s", uuid);
    snprintf(d->name, sizeof d->name, "NVIDIA H100 80GB HBM3");
    d->capability = 90;
    d->tick_s = 0.1, d->sample_period_s = 0.02, d->sample_window_s = 0.02;
    d->gain = d->sensor_gain = 1;
    d->stall_at = d->stall_end = d->reset_at = d->lost_at = d->jump_at = INFINITY;
    d->clocks_at = d->throttle_at = d->throttle_end = INFINITY;
    d->reason_times = d->policy_times = 1;
    d->temperature_c = 40, d->sm_mhz = 1980, d->mem_mhz = 2619, d->utilization = 90;
    d->set.mw = d->default_mw = d->max_mw = 700000, d->min_mw = 200000, d->max_sm_mhz = 1980;
}

static void read_power(Device *d, char *values) {
    char *next = strtok(values, " ");
    for (d->steps = 0; next && d->steps < MAX_STEPS; next = strtok(NULL, " ")) {
        if (d->steps == 0) d->step_s[0] = 0;
        else { d->step_s[d->steps] = atof(next); next = strtok(NULL, " "); }
        d->step_w[d->steps++] = atof(next);
    }
}

static int is(const char *text, const char *word) { return strcmp(text, word) == 0; }

static int read_numbers(Device *d, const char *key, const char *v) {
    if (is(key, "square")) sscanf(v, "%lf %lf %lf %lf", &d->period_s, &d->duty, &d->high_w, &d->low_w);
    else if (is(key, "tick")) d->tick_s = atof(v);
    else if (is(key, "sample")) sscanf(v, "%lf %lf", &d->sample_period_s, &d->sample_window_s);
    else if (is(key, "gain")) d->gain = atof(v);
    else if (is(key, "sensor_gain")) d->sensor_gain = atof(v);
    else if (is(key, "start_mj")) d->start_mj = strtoull(v, NULL, 10);
    else if (is(key, "stall_at")) sscanf(v, "%lf %lf", &d->stall_at, &d->stall_end);
    else if (is(key, "jump_at")) sscanf(v, "%lf %lf", &d->jump_at, &d->jump_mj);
    else if (is(key, "reset_at")) d->reset_at = atof(v);
    else if (is(key, "lost_at")) d->lost_at = atof(v);
    else if (is(key, "module_extra")) d->module_extra_w = atof(v);
    else if (is(key, "temperature")) sscanf(v, "%lf %lf", &d->temperature_c, &d->temperature_slope);
    else if (is(key, "clocks")) sscanf(v, "%u %u %lf %u %u", &d->sm_mhz, &d->mem_mhz, &d->clocks_at, &d->later_sm_mhz, &d->later_mem_mhz);
    else if (is(key, "throttle")) sscanf(v, "%llu %lf %llu %lf", &d->throttle, &d->throttle_at, &d->later_throttle, &d->throttle_end);
    else if (is(key, "utilization")) d->utilization = (unsigned)atoi(v);
    else if (is(key, "processes_at")) d->processes_at = atof(v);
    else if (is(key, "default_limit")) d->default_mw = (unsigned)(1000 * atof(v));
    else if (is(key, "max_sm")) d->max_sm_mhz = (unsigned)atoi(v);
    else if (is(key, "setting_delay")) d->setting_delay = atof(v);
    else if (is(key, "mig")) d->mig = (unsigned)atoi(v);
    else if (is(key, "virtualization")) d->virtualization = strtoull(v, NULL, 10);
    else return 0;
    return 1;
}

static int read_words(Device *d, const char *key, char *v) {
    if (is(key, "name")) snprintf(d->name, sizeof d->name, "%s", v);
    else if (is(key, "power")) read_power(d, v);
    else if (is(key, "capability")) d->capability = atoi(v);
    else if (is(key, "counter")) d->counter_unsupported = is(v, "unsupported"), d->counter_module = is(v, "module");
    else if (is(key, "field")) d->field_unsupported = is(v, "unsupported");
    else if (is(key, "usage")) d->usage_unsupported = is(v, "unsupported");
    else if (is(key, "process_use")) d->use_unsupported = is(v, "unsupported") ? NOT_SUPPORTED : is(v, "denied") ? NO_PERMISSION : 0,
                                        d->use_empty = is(v, "empty");
    else if (is(key, "throttle_time")) d->reason_times = is(v, "fields"), d->policy_times = !is(v, "unsupported");
    else if (is(key, "setters")) d->denied = is(v, "denied"), d->setters_unsupported = is(v, "unsupported");
    else if (is(key, "state")) snprintf(d->state_file, sizeof d->state_file, "%s", v);
    else if (is(key, "mig_uuid")) snprintf(d->mig_uuid, sizeof d->mig_uuid, "%s", v);
    else if (is(key, "process")) {
        int i = d->processes++;
        d->use[i] = 50, d->from[i] = 0, d->until[i] = INFINITY;
        sscanf(v, "%u %llu %u %lf %lf", &d->pids[i], &d->bytes[i], &d->use[i], &d->from[i], &d->until[i]);
    } else if (is(key, "mps_client")) {
        sscanf(v, "%u %llu", &d->client_pids[d->clients], &d->client_bytes[d->clients]);
        d->clients++;
    } else if (is(key, "limit")) {
        double limit, low, high;
        sscanf(v, "%lf %lf %lf", &limit, &low, &high);
        d->set.mw = d->default_mw = (unsigned)(1000 * limit), d->min_mw = (unsigned)(1000 * low), d->max_mw = (unsigned)(1000 * high);
    } else return 0;
    return 1;
}

static char driver[40];

static int read_script(void) {
    const char *path = getenv("FAKE_NVML");
    FILE *file = path ? fopen(path, "r") : NULL;
    char line[1024];
    count = 0;
    snprintf(driver, sizeof driver, "580.95.05");
    if (!file) return UNKNOWN;
    while (fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = 0;
        char *value = strchr(line, ' ');
        if (!value) continue;
        *value++ = 0;
        if (is(line, "driver")) snprintf(driver, sizeof driver, "%s", value);
        else if (is(line, "device")) device_defaults(&devices[count++], value);
        else if (!count || !(read_numbers(&devices[count - 1], line, value) ||
                             read_words(&devices[count - 1], line, value))) {
            fprintf(stderr, "fake NVML: unknown key %s\n", line);
            abort();
        }
    }
    fclose(file);
    return SUCCESS;
}

/* ---- settings: what was set last, and what it replaced until its delay is over ---- */

/* A meter's thread that reads the file between a change and its saving would undo the change. */
static pthread_mutex_t settings = PTHREAD_MUTEX_INITIALIZER;

static unsigned limit_mw(const Device *d) { return common_s() >= d->set.mw_at ? d->set.mw : d->set.old_mw; }

static unsigned locked_mhz(const Device *d) { return common_s() >= d->set.mhz_at ? d->set.mhz : d->set.old_mhz; }

static void load_settings(Device *d) {
    FILE *file = d->state_file[0] ? fopen(d->state_file, "r") : NULL;
    if (!file) return;
    if (fscanf(file, "%u %u %u %u %lf %lf", &d->set.mw, &d->set.mhz, &d->set.old_mw, &d->set.old_mhz,
               &d->set.mw_at, &d->set.mhz_at) != 6) abort();
    fclose(file);
}

static void save_settings(const Device *d) {
    char partial[300];
    if (!d->state_file[0]) return;
    snprintf(partial, sizeof partial, "%s.partial", d->state_file);
    FILE *file = fopen(partial, "w");
    if (!file) abort();
    fprintf(file, "%u %u %u %u %.9f %.9f\n", d->set.mw, d->set.mhz, d->set.old_mw, d->set.old_mhz,
            d->set.mw_at, d->set.mhz_at);
    fclose(file);
    if (rename(partial, d->state_file)) abort();
}

/* ---- physics: true power, its integral, and what counter and sensor make of them ---- */

static double capped_joules(const Device *d, double t, double cap_w) {
    double sum = 0;
    if (t <= 0) return 0;
    if (d->period_s > 0) {
        double whole = floor(t / d->period_s), rest = t - whole * d->period_s, on = d->duty * d->period_s;
        double high_w = fmin(d->high_w, cap_w), low_w = fmin(d->low_w, cap_w);
        sum = whole * (on * high_w + (d->period_s - on) * low_w);
        return sum + fmin(rest, on) * high_w + fmax(0, rest - on) * low_w;
    }
    for (int i = 0; i < d->steps && d->step_s[i] < t; i++) {
        double end = i + 1 < d->steps ? fmin(t, d->step_s[i + 1]) : t;
        sum += fmin(d->step_w[i], cap_w) * (end - d->step_s[i]);
    }
    return sum;
}

/* Of any moment until now: a counter that stood or has a tick tells of the past. */
static double joules(const Device *d, double t) {
    int last = d->caps_known - 1;
    while (last > 0 && d->caps[last].from_s > t) last--;
    const Cap *cap = &d->caps[last];
    return cap->joules + capped_joules(d, t, cap->mw / 1000.0) - capped_joules(d, cap->from_s, cap->mw / 1000.0);
}

/* Called first thing in every call: a limit that has changed holds from now on. */
static void settle(Device *d) {
    pthread_mutex_lock(&settings);
    load_settings(d);
    if (!d->caps_known || limit_mw(d) != d->caps[d->caps_known - 1].mw) {
        Cap *next = &d->caps[d->caps_known];
        if (d->caps_known == MAX_CAPS) abort();
        next->from_s = d->caps_known ? now_s() : 0;
        next->joules = d->caps_known ? joules(d, now_s()) : 0;
        next->mw = limit_mw(d);
        d->caps_known++;
    }
    pthread_mutex_unlock(&settings);
}

static double mean_w(const Device *d, double start, double end) {
    return (joules(d, end) - joules(d, start)) / (end - start);
}

static double floor_to(double t, double period) { return period * floor(t / period + 1e-9); }

static unsigned long long counter_mj(const Device *d) {
    double now = now_s(), resumed = now >= d->stall_end;
    double t = floor_to(resumed ? now : fmin(now, d->stall_at), d->tick_s);
    double from = t >= d->reset_at ? d->reset_at : 0;
    double j = joules(d, t) - (from > 0 ? joules(d, from) : 0);
    if (resumed) j -= joules(d, d->stall_end) - joules(d, d->stall_at);
    if (now >= d->jump_at) j += d->jump_mj / 1000;
    if (d->counter_module) j += d->module_extra_w * (t - from);
    return (from > 0 ? 0 : d->start_mj) + (unsigned long long)(1000 * d->gain * j);
}

static double sensor_w(const Device *d, double period, double window) {
    double t = floor_to(now_s(), period);
    double w = t >= window ? mean_w(d, t - window, t) : mean_w(d, 0, window);
    return d->sensor_gain * w;
}

/* ---- NVML ---- */

#define DEVICE(handle)                                       \
    Device *d = handle;                                      \
    if (!users) return UNINITIALIZED;                        \
    if (d < devices || d >= devices + count) return INVALID_ARGUMENT; \
    if (now_s() >= d->lost_at) return GPU_IS_LOST;           \
    settle(d);

int nvmlInitWithFlags(unsigned flags) {
    (void)flags;
    if (users++) return SUCCESS;
    origin_s = wall_s();
    int result = read_script();
    if (result) users--;
    return result;
}

int nvmlShutdown(void) { return users ? (users--, SUCCESS) : UNINITIALIZED; }

const char *nvmlErrorString(int code) { return code == GPU_IS_LOST ? "GPU is lost" : "fake error"; }

int nvmlSystemGetDriverVersion(char *text, unsigned size) {
    return snprintf(text, size, "%s", driver) < (int)size ? SUCCESS : INSUFFICIENT_SIZE;
}

int nvmlDeviceGetCount_v2(unsigned *n) { return *n = (unsigned)count, users ? SUCCESS : UNINITIALIZED; }

int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **handle) {
    if (index >= (unsigned)count) return INVALID_ARGUMENT;
    *handle = &devices[index];
    return now_s() >= devices[index].lost_at ? GPU_IS_LOST : SUCCESS;
}

int nvmlDeviceGetHandleByUUID(const char *uuid, void **handle) {
    for (int i = 0; i < count; i++)
        if (is(uuid, devices[i].uuid) || is(uuid, devices[i].mig_uuid))
            return *handle = &devices[i], SUCCESS;
    return NOT_FOUND;
}

int nvmlDeviceGetUUID(void *h, char *text, unsigned size) { DEVICE(h) return snprintf(text, size, "%s", d->uuid), SUCCESS; }

int nvmlDeviceGetName(void *h, char *text, unsigned size) { DEVICE(h) return snprintf(text, size, "%s", d->name), SUCCESS; }

int nvmlDeviceGetCudaComputeCapability(void *h, int *major, int *minor) {
    DEVICE(h)
    return *major = d->capability / 10, *minor = d->capability % 10, SUCCESS;
}

int nvmlDeviceGetTotalEnergyConsumption(void *h, unsigned long long *mj) {
    DEVICE(h)
    if (d->counter_unsupported) return NOT_SUPPORTED;
    return *mj = counter_mj(d), SUCCESS;
}

int nvmlDeviceGetPowerUsage(void *h, unsigned *mw) {
    DEVICE(h)
    if (d->usage_unsupported) return NOT_SUPPORTED;
    return *mw = (unsigned)lround(1000 * sensor_w(d, d->sample_period_s, 1.0)), SUCCESS;
}

static int power_field(const Device *d, Field *f) {
    if (d->field_unsupported || f->scope > SCOPE_MODULE) return NOT_SUPPORTED;
    if (f->scope == SCOPE_MODULE && !d->module_extra_w) return NOT_SUPPORTED;
    double window = f->field == FIELD_POWER_AVERAGE ? 1.0 : d->sample_window_s;
    double w = sensor_w(d, d->sample_period_s, window) + (f->scope == SCOPE_MODULE ? d->module_extra_w : 0);
    return f->type = 1, f->value.ui = (unsigned)lround(1000 * w), SUCCESS;
}

static int energy_field(const Device *d, Field *f) {
    if (d->counter_unsupported) return NOT_SUPPORTED;
    if (f->scope == SCOPE_MODULE && !d->counter_module) return NOT_SUPPORTED;
    return f->type = 3, f->value.ull = counter_mj(d), SUCCESS;
}

static int throttles(const Device *d, double t, unsigned long long bits) {
    return ((t >= d->throttle_at && t < d->throttle_end ? d->later_throttle : d->throttle) & bits) != 0;
}

/* Nanoseconds until now for which any of these reasons held. */
static unsigned long long throttled_ns(const Device *d, unsigned long long bits) {
    double now = now_s(), edges[] = {0, fmin(now, d->throttle_at), fmin(now, d->throttle_end), now}, sum = 0;
    for (int i = 0; i < 3; i++)
        if (edges[i + 1] > edges[i] && throttles(d, edges[i], bits)) sum += edges[i + 1] - edges[i];
    return (unsigned long long)(1e9 * sum);
}

static int time_field(const Device *d, Field *f) {
    unsigned long long bits = f->field == FIELD_SW_THERMAL ? SW_THERMAL : f->field == FIELD_HW_THERMAL ? HW_THERMAL
                            : f->field == FIELD_POWER_BRAKE ? POWER_BRAKE : HW_SLOWDOWN | SW_THERMAL | HW_THERMAL;
    if (!(f->field == FIELD_THERMAL_POLICY ? d->policy_times : d->reason_times)) return NOT_SUPPORTED;
    return f->type = 3, f->value.ull = throttled_ns(d, bits), SUCCESS;
}

int nvmlDeviceGetFieldValues(void *h, int n, Field *fields) {
    DEVICE(h)
    for (Field *f = fields; f < fields + n; f++) {
        f->timestamp_us = (int64_t)(1e6 * floor_to(now_s(), d->sample_period_s));
        if (f->field == FIELD_POWER_AVERAGE || f->field == FIELD_POWER_INSTANT) f->result = (uint32_t)power_field(d, f);
        else if (f->field == FIELD_THERMAL_POLICY || (f->field >= FIELD_SW_THERMAL && f->field <= FIELD_POWER_BRAKE))
            f->result = (uint32_t)time_field(d, f);
        else f->result = f->field == FIELD_ENERGY ? (uint32_t)energy_field(d, f) : NOT_SUPPORTED;
    }
    return SUCCESS;
}

int nvmlDeviceGetTemperature(void *h, int sensor, unsigned *c) {
    DEVICE(h)
    return *c = (unsigned)lround(d->temperature_c + d->temperature_slope * now_s()), sensor ? INVALID_ARGUMENT : SUCCESS;
}

int nvmlDeviceGetClockInfo(void *h, int type, unsigned *mhz) {
    DEVICE(h)
    int later = now_s() >= d->clocks_at, memory = type == 2;
    unsigned sm = later ? d->later_sm_mhz : d->sm_mhz;
    if (locked_mhz(d)) sm = locked_mhz(d);
    return *mhz = memory ? (later ? d->later_mem_mhz : d->mem_mhz) : sm, SUCCESS;
}

int nvmlDeviceGetCurrentClocksEventReasons(void *h, unsigned long long *bits) {
    DEVICE(h)
    int later = now_s() >= d->throttle_at && now_s() < d->throttle_end;
    return *bits = later ? d->later_throttle : d->throttle, SUCCESS;
}

int nvmlDeviceGetUtilizationRates(void *h, unsigned *gpu_and_memory) {
    DEVICE(h)
    return gpu_and_memory[0] = d->utilization, gpu_and_memory[1] = d->utilization / 2, SUCCESS;
}

static int present(const Device *d, int i, double start, double end) {
    return end >= fmax(d->from[i], isfinite(d->processes_at) ? d->processes_at : 0) && start < d->until[i];
}

int nvmlDeviceGetComputeRunningProcesses_v3(void *h, unsigned *n, Process *list) {
    DEVICE(h)
    unsigned there = 0, room = *n;
    for (int i = 0; i < d->processes; i++) {
        if (!present(d, i, now_s(), now_s())) continue;
        if (there < room) list[there] = (Process){d->pids[i], d->bytes[i], ~0u, ~0u};
        there++;
    }
    *n = there;
    return room < there ? INSUFFICIENT_SIZE : SUCCESS;
}

int nvmlDeviceGetMPSComputeRunningProcesses_v3(void *h, unsigned *n, Process *list) {
    DEVICE(h)
    unsigned there = (unsigned)d->clients, room = *n;
    *n = there;
    if (room < there) return INSUFFICIENT_SIZE;
    for (unsigned i = 0; i < there; i++) list[i] = (Process){d->client_pids[i], d->client_bytes[i], ~0u, ~0u};
    return SUCCESS;
}

typedef struct { unsigned pid; unsigned long long timestamp_us; unsigned sm, memory, encoder, decoder; } Use;

int nvmlDeviceGetProcessUtilization(void *h, Use *list, unsigned *n, unsigned long long since_us) {
    DEVICE(h)
    (void)since_us; /* of another clock: what was not told yet is told */
    if (d->use_unsupported) return d->use_unsupported;
    if (d->use_empty) return *n = 0, SUCCESS;
    unsigned there = 0, room = list ? *n : 0;
    for (int i = 0; i < d->processes; i++) {
        if (!present(d, i, d->use_told_s, now_s())) continue;
        if (there < room) list[there] = (Use){d->pids[i], 0, d->use[i], 0, 0, 0};
        there++;
    }
    *n = there;
    if (!there) return d->use_told_s = now_s(), NOT_FOUND;
    if (room < there) return INSUFFICIENT_SIZE;
    return d->use_told_s = now_s(), SUCCESS;
}

int nvmlDeviceGetMigMode(void *h, unsigned *current, unsigned *pending) { DEVICE(h) return *current = *pending = d->mig, SUCCESS; }

int nvmlDeviceGetVirtualizationMode(void *h, unsigned long long *mode) { DEVICE(h) return *mode = d->virtualization, SUCCESS; }

int nvmlDeviceGetPowerManagementLimit(void *h, unsigned *mw) { DEVICE(h) return *mw = d->set.mw, SUCCESS; }

int nvmlDeviceGetEnforcedPowerLimit(void *h, unsigned *mw) { DEVICE(h) return *mw = limit_mw(d), SUCCESS; }

int nvmlDeviceGetPowerManagementDefaultLimit(void *h, unsigned *mw) { DEVICE(h) return *mw = d->default_mw, SUCCESS; }

int nvmlDeviceGetPowerManagementLimitConstraints(void *h, unsigned *low, unsigned *high) {
    DEVICE(h)
    return *low = d->min_mw, *high = d->max_mw, SUCCESS;
}

static int may_set(const Device *d) { return d->setters_unsupported ? NOT_SUPPORTED : d->denied ? NO_PERMISSION : SUCCESS; }

int nvmlDeviceSetPowerManagementLimit(void *h, unsigned mw) {
    DEVICE(h)
    if (may_set(d)) return may_set(d);
    if (mw < d->min_mw || mw > d->max_mw) return INVALID_ARGUMENT;
    pthread_mutex_lock(&settings);
    load_settings(d);
    d->set.old_mw = limit_mw(d), d->set.mw = mw, d->set.mw_at = common_s() + d->setting_delay;
    save_settings(d);
    return pthread_mutex_unlock(&settings), SUCCESS;
}

int nvmlDeviceGetMaxClockInfo(void *h, int type, unsigned *mhz) {
    DEVICE(h)
    return *mhz = type == 2 ? d->mem_mhz : d->max_sm_mhz, SUCCESS;
}

int nvmlDeviceGetMinMaxClockOfPState(void *h, int type, int state, unsigned *low, unsigned *high) {
    DEVICE(h)
    return *low = 210, *high = d->max_sm_mhz, type == 1 && state == 0 ? SUCCESS : NOT_SUPPORTED;
}

static int lock_clock(Device *d, unsigned mhz) {
    if (may_set(d)) return may_set(d);
    pthread_mutex_lock(&settings);
    load_settings(d);
    d->set.old_mhz = locked_mhz(d), d->set.mhz = mhz, d->set.mhz_at = common_s() + d->setting_delay;
    save_settings(d);
    return pthread_mutex_unlock(&settings), SUCCESS;
}

int nvmlDeviceSetGpuLockedClocks(void *h, unsigned low, unsigned high) {
    DEVICE(h)
    return low > high ? INVALID_ARGUMENT : lock_clock(d, high / 15 * 15); /* clocks come in steps */
}

int nvmlDeviceResetGpuLockedClocks(void *h) {
    DEVICE(h)
    return lock_clock(d, 0);
}
