/* A driver's library of eight GPUs for tests: every answer follows from the GPU's index.
 *
 *   GPU 0  has everything                  GPU 4  has a MIG instance whose number is not told
 *   GPU 1  has MIG instances 3 and 5       GPU 7  has links that are asked one by one
 *   GPU 2  reports XIDs                    others lack half of what can be asked
 *
 * A file beside the library, STATE, holds the number of GPU 1's MIG devices, and of a GPU that is
 * lost, if one is. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OK = 0, NOT_SUPPORTED = 3, INVALID = 2, NOT_FOUND = 6, TIMEOUT = 10, LOST = 15, GPUS = 8 };
enum { UINT = 1, ULONGLONG = 3 };
/* A GPU's index and one, or a MIG device: its GPU, its instance and its compute instance. */
typedef struct gpu *device;
typedef struct { device gpu; int told; } set;
typedef unsigned long long wide;

static unsigned number_of(device gpu) { return (unsigned)(size_t)gpu; }
static unsigned index_of(device gpu) { return (number_of(gpu) & 0xff) - 1; }
static int is_mig(device gpu) { return number_of(gpu) > 0xff; }
static unsigned instance_of(device gpu) { return number_of(gpu) >> 16; }
static unsigned compute_of(device gpu) { return (number_of(gpu) >> 8 & 0xff) - 1; }
static device mig(unsigned index, unsigned instance, unsigned compute) {
    return (device)(size_t)(instance << 16 | (compute + 1) << 8 | (index + 1));
}
/* What a GPU that has everything alone has. */
static int only_full(device gpu) { return index_of(gpu) == 0 ? OK : NOT_SUPPORTED; }

static void read_state(int *devices, int *lost) {
    FILE *file = fopen(STATE, "r");
    *devices = 3, *lost = -1;
    if (!file) return;
    if (fscanf(file, "%d %d", devices, lost) < 1) *devices = 3;
    fclose(file);
}
static int is_lost(device gpu) {
    int devices, lost;
    read_state(&devices, &lost);
    return (int)index_of(gpu) == lost;
}

int nvmlInit_v2(void) { return OK; }
int nvmlShutdown(void) { return OK; }
static int text(char *to, unsigned length, const char *from) {
    snprintf(to, length, "%s", from);
    return OK;
}
int nvmlSystemGetDriverVersion(char *to, unsigned length) { return text(to, length, "580.95.05"); }
int nvmlSystemGetNVMLVersion(char *to, unsigned length) { return text(to, length, "13.580.95"); }
int nvmlDeviceGetCount_v2(unsigned *count) { *count = GPUS; return OK; }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, device *gpu) {
    *gpu = (device)(size_t)(index + 1);
    return is_lost(*gpu) ? LOST : OK;
}

/* What the GPU is. */
int nvmlDeviceGetUUID(device gpu, char *to, unsigned length) {
    if (is_mig(gpu))
        snprintf(to, length, "MIG-%u-%u-%u", index_of(gpu), instance_of(gpu), compute_of(gpu));
    else
        snprintf(to, length, "GPU-%u", index_of(gpu));
    return OK;
}
int nvmlDeviceGetName(device gpu, char *to, unsigned length) {
    if (!is_mig(gpu)) return text(to, length, "NVIDIA H100 \"80GB\"");
    return text(to, length, instance_of(gpu) == 5 ? "H100 MIG 1c.3g.40gb" : "H100 MIG 1g.10gb+me");
}
int nvmlDeviceGetBrand(device gpu, unsigned *brand) { *brand = 14; return only_full(gpu); }
int nvmlDeviceGetSerial(device gpu, char *to, unsigned length) {
    text(to, length, "1652922001234");
    return only_full(gpu);
}
int nvmlDeviceGetVbiosVersion(device gpu, char *to, unsigned length) {
    (void)gpu;
    return text(to, length, "96.00.30.00.01");
}
int nvmlDeviceGetInforomImageVersion(device gpu, char *to, unsigned length) {
    text(to, length, "G520.0200.00.05");
    return only_full(gpu);
}
int nvmlDeviceGetInforomVersion(device gpu, int object, char *to, unsigned length) {
    snprintf(to, length, "%d.1", object);
    return only_full(gpu);
}
int nvmlDeviceGetInforomConfigurationChecksum(device gpu, unsigned *sum) {
    *sum = 4000000000u;
    return only_full(gpu);
}
int nvmlDeviceValidateInforom(device gpu) { return index_of(gpu) == 6 ? 14 : only_full(gpu); }
typedef struct {
    char legacy[16];
    unsigned domain, bus, device, id, subsystem;
    char bus_id[32];
} pci;
int nvmlDeviceGetPciInfo_v3(device gpu, pci *info) {
    memset(info, 0, sizeof *info);
    info->id = 0x233010de;
    info->subsystem = 0x16c110de;
    snprintf(info->bus_id, sizeof info->bus_id, "00000000:0%u:00.0", index_of(gpu));
    return OK;
}
int nvmlDeviceGetMinorNumber(device gpu, unsigned *minor) { *minor = index_of(gpu); return OK; }
int nvmlDeviceGetCudaComputeCapability(device gpu, int *major, int *minor) {
    (void)gpu;
    *major = 9;
    *minor = 1;
    return OK;
}
int nvmlDeviceGetCpuAffinity(device gpu, unsigned size, unsigned long *masks) {
    for (unsigned at = 0; at < size; at++) masks[at] = at ? 0 : 0x8000000000000001ul;
    return only_full(gpu);
}
int nvmlDeviceGetMemoryAffinity(device gpu, unsigned size, unsigned long *masks, unsigned scope) {
    for (unsigned at = 0; at < size; at++) masks[at] = at ? 0 : 1;
    return scope == 0 ? only_full(gpu) : INVALID;
}
typedef struct { unsigned version, environment, feature, tools, multi_gpu; } confidential;
int nvmlSystemGetConfComputeSettings(confidential *settings) { settings->feature = 1; return OK; }
int nvmlDeviceGetVirtualizationMode(device gpu, int *mode) { *mode = 1; return only_full(gpu); }
int nvmlDeviceGetP2PStatus(device gpu, device other, int index, int *status) {
    if (gpu == other || index != 2) return INVALID;
    *status = index_of(other) < 4 ? 0 : 5;
    return OK;
}

/* What it does. */
typedef struct { unsigned gpu, memory; } utilization;
int nvmlDeviceGetUtilizationRates(device gpu, utilization *u) {
    u->gpu = 90 + index_of(gpu);
    u->memory = 40;
    return OK;
}
int nvmlDeviceGetEncoderUtilization(device gpu, unsigned *u, unsigned *period) {
    (void)gpu;
    *u = 3;
    *period = 1000;
    return OK;
}
int nvmlDeviceGetDecoderUtilization(device gpu, unsigned *u, unsigned *period) {
    *u = 4;
    *period = 1000;
    return only_full(gpu);
}
typedef struct { unsigned version; wide total, reserved, free, used; } memory;
int nvmlDeviceGetMemoryInfo_v2(device gpu, memory *m) {
    wide size = is_mig(gpu) ? 10 : 80;
    if (is_lost(gpu)) return LOST;
    m->total = size << 30;
    m->reserved = 0;
    m->used = (size << 30) / 4;
    m->free = m->total - m->used;
    return OK;
}
typedef struct { wide total, free, used; } bar1;
int nvmlDeviceGetBAR1MemoryInfo(device gpu, bar1 *m) {
    m->total = 128ULL << 30;
    m->used = 1ULL << 20;
    m->free = m->total - m->used;
    return is_mig(gpu) ? OK : only_full(gpu);
}
int nvmlDeviceGetTemperature(device gpu, int sensor, unsigned *celsius) {
    (void)sensor;
    *celsius = 50 + index_of(gpu);
    return OK;
}
int nvmlDeviceGetTemperatureThreshold(device gpu, int which, unsigned *celsius) {
    *celsius = 80 + which;
    return only_full(gpu);
}
int nvmlDeviceGetPowerUsage(device gpu, unsigned *milliwatts) {
    *milliwatts = 123456 + index_of(gpu);
    return OK;
}
int nvmlDeviceGetPowerManagementLimit(device gpu, unsigned *milliwatts) {
    (void)gpu;
    *milliwatts = 700000;
    return OK;
}
int nvmlDeviceGetPowerManagementDefaultLimit(device gpu, unsigned *milliwatts) {
    *milliwatts = 700000;
    return only_full(gpu);
}
int nvmlDeviceGetEnforcedPowerLimit(device gpu, unsigned *milliwatts) {
    *milliwatts = 650000;
    return only_full(gpu);
}
int nvmlDeviceGetPowerManagementLimitConstraints(device gpu, unsigned *least, unsigned *most) {
    *least = 200000;
    *most = 700000;
    return only_full(gpu);
}
int nvmlDeviceGetClockInfo(device gpu, int clock, unsigned *mhz) {
    (void)gpu;
    *mhz = 1000 + clock;
    return OK;
}
int nvmlDeviceGetMaxClockInfo(device gpu, int clock, unsigned *mhz) {
    *mhz = 2000 + clock;
    return only_full(gpu);
}
int nvmlDeviceGetApplicationsClock(device gpu, int clock, unsigned *mhz) {
    *mhz = 1500 + clock;
    return only_full(gpu);
}
int nvmlDeviceGetPerformanceState(device gpu, int *state) { (void)gpu; *state = 0; return OK; }
int nvmlDeviceGetFanSpeed_v2(device gpu, unsigned fan, unsigned *percent) {
    *percent = 30 + fan;
    return only_full(gpu);
}
int nvmlDeviceGetCurrentClocksThrottleReasons(device gpu, wide *reasons) {
    (void)gpu;
    *reasons = 4;
    return OK;
}
int nvmlDeviceGetCurrPcieLinkGeneration(device gpu, unsigned *g) { *g = 5; return only_full(gpu); }
int nvmlDeviceGetCurrPcieLinkWidth(device gpu, unsigned *width) { *width = 16; return only_full(gpu); }
int nvmlDeviceGetMaxPcieLinkGeneration(device gpu, unsigned *g) { *g = 5; return only_full(gpu); }
int nvmlDeviceGetMaxPcieLinkWidth(device gpu, unsigned *width) { *width = 16; return only_full(gpu); }
int nvmlDeviceGetPcieThroughput(device gpu, int way, unsigned *kilobytes) {
    *kilobytes = 100 + way;
    return index_of(gpu) == 5 ? OK : only_full(gpu);
}

/* Modes. */
int nvmlDeviceGetEccMode(device gpu, int *now, int *pending) {
    (void)gpu;
    *now = 1;
    *pending = 1;
    return OK;
}
int nvmlDeviceGetComputeMode(device gpu, int *mode) { *mode = 3; return only_full(gpu); }
int nvmlDeviceGetPersistenceMode(device gpu, int *mode) { *mode = 1; return only_full(gpu); }
int nvmlDeviceGetAutoBoostedClocksEnabled(device gpu, int *now, int *normally) {
    *now = 1;
    *normally = 0;
    return only_full(gpu);
}

/* Errors. */
int nvmlDeviceGetMemoryErrorCounter(device gpu, int error, int span, int place, wide *count) {
    *count = 100 * place + 10 * span + error;
    return is_mig(gpu) && place == 7 ? OK : only_full(gpu);
}
int nvmlDeviceGetNvLinkErrorCounter(device gpu, unsigned link, int counter, wide *count) {
    *count = 10 * link + counter;
    return index_of(gpu) == 7 && link < 2 ? OK : only_full(gpu);
}
typedef struct {
    unsigned field, scope;
    long long timestamp, latency;
    int type, status;
    union { unsigned u; wide ull; } value;
} field;
/* Even fields are there, as 1000 times themselves and the GPU's index. In a long call those that are
 * not there are 0, as driver 580 says of some on an H200. */
int nvmlDeviceGetFieldValues(device gpu, int count, field *fields) {
    for (int i = 0; i < count; i++) {
        unsigned id = fields[i].field;
        fields[i].type = id == 186 || id == 82 ? UINT : ULONGLONG;
        int one_by_one = index_of(gpu) == 7 && id >= 32 && id < 120;
        fields[i].status = one_by_one || id % 2 ? only_full(gpu) : OK;
        if (fields[i].status != OK && count > 64) {
            fields[i].status = OK;
            continue;
        }
        /* Flags, codes and temperatures, by the numbers of driver 580.82 and later. */
        if (id == 186) fields[i].value.u = 98765;
        else if (id == 82) fields[i].value.u = 70;
        else if (id == 144 || id == 145 || id == 230 || id == 170 || id == 234) fields[i].value.ull = 1;
        else if (id == 251 || id == 253) fields[i].value.ull = 1;
        else fields[i].value.ull = id * 1000ULL + index_of(gpu);
    }
    return OK;
}

int nvmlEventSetCreate(set **events) {
    *events = calloc(1, sizeof **events);
    return OK;
}
int nvmlDeviceRegisterEvents(device gpu, wide types, set *events) {
    events->gpu = gpu;
    return types == 8 ? OK : INVALID;
}
typedef struct { device gpu; wide type, data; unsigned instance, compute; } event;
/* GPU 2 tells of XID 13, of XID 79 in the same tick, and of XID 79 in the next one. */
int nvmlEventSetWait_v2(set *events, event *data, unsigned timeout) {
    (void)timeout;
    int at = events->told++;
    if (index_of(events->gpu) != 2 || at == 2 || at > 3) return TIMEOUT;
    memset(data, 0, sizeof *data);
    data->gpu = events->gpu;
    data->type = 8;
    data->data = at ? 79 : 13;
    return OK;
}
int nvmlEventSetFree(set *events) { free(events); return OK; }

/* MIG. */
static int mig_enabled(device gpu) {
    return !is_mig(gpu) && (index_of(gpu) == 1 || index_of(gpu) == 4);
}
int nvmlDeviceGetMigMode(device gpu, unsigned *now, unsigned *pending) {
    *now = *pending = mig_enabled(gpu);
    return OK;
}
int nvmlDeviceGetMaxMigDeviceCount(device gpu, unsigned *count) {
    *count = mig_enabled(gpu) ? 7 : 0;
    return OK;
}
static int devices_of_gpu_1(void) {
    int devices, lost;
    read_state(&devices, &lost);
    return devices;
}
int nvmlDeviceGetMigDeviceHandleByIndex(device gpu, unsigned at, device *found) {
    if (index_of(gpu) == 4 && at == 0) {
        *found = mig(4, 2, 0);
        return OK;
    }
    /* Index 1 is not there: what it was is gone. */
    static const unsigned places[4][2] = {{3, 0}, {0, 0}, {5, 0}, {5, 1}};
    if (index_of(gpu) != 1 || at > 3 || at == 1 || (int)at > devices_of_gpu_1()) return NOT_FOUND;
    *found = mig(1, places[at][0], places[at][1]);
    return OK;
}
/* Takes the old form alone, and for GPU 1. */
int nvmlDeviceGetHandleByUUID(const char *uuid, device *found) {
    unsigned instance, compute;
    if (sscanf(uuid, "MIG-GPU-1/%u/%u", &instance, &compute) != 2) return NOT_FOUND;
    if (!(instance == 3 && compute == 0) && !(instance == 5 && compute < 2)) return NOT_FOUND;
    *found = mig(1, instance, compute);
    return OK;
}

/* GPM: a sample is the GPU, its instance, and how many were taken before it. */
typedef struct { unsigned gpu, instance, at; } sample;
static unsigned samples_taken[GPUS][16];
typedef struct { unsigned version, supported; } support;
int nvmlGpmQueryDeviceSupport(device gpu, support *answer) {
    answer->supported = index_of(gpu) < 2;
    return OK;
}
int nvmlGpmSampleAlloc(sample **made) { *made = calloc(1, sizeof **made); return OK; }
int nvmlGpmSampleFree(sample *old) { free(old); return OK; }
int nvmlGpmMigSampleGet(device gpu, unsigned instance, sample *to) {
    *to = (sample){index_of(gpu), instance, samples_taken[index_of(gpu)][instance]++};
    return OK;
}
int nvmlGpmSampleGet(device gpu, sample *to) { return nvmlGpmMigSampleGet(gpu, 0, to); }
typedef struct {
    unsigned id;
    int status;
    double value;
    char *short_name, *long_name, *unit;
} metric;
typedef struct { unsigned version, count; sample *before, *now; metric metrics[210]; } metrics;
/* A metric is its own number, and a hundredth for each number of the instance; metric 30 is the
 * number of samples since the one before. */
int nvmlGpmMetricsGet(metrics *asked) {
    const sample *before = asked->before, *now = asked->now;
    if (before->gpu != now->gpu || before->instance != now->instance) return INVALID;
    if (before->at >= now->at) return INVALID;
    for (unsigned at = 0; at < asked->count; at++) {
        metric *one = &asked->metrics[at];
        one->status = now->gpu ? one->id % 2 ? NOT_SUPPORTED : OK : OK;
        one->value = one->id + now->instance / 100.0;
        if (one->id == 30) one->value = now->at - before->at;
        if (now->gpu && one->id == 4) one->value = 0.0 / 0.0;
    }
    return OK;
}
