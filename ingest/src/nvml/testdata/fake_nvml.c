/* A driver's library of eight GPUs for tests: every answer follows from the GPU's index. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OK = 0, NOT_SUPPORTED = 3, TIMEOUT = 10, GPUS = 8 };
enum { UINT = 1, ULONGLONG = 3 };
typedef struct gpu *device;
typedef struct { device gpu; int told; } set;

static unsigned index_of(device gpu) { return (unsigned)(size_t)gpu - 1; }

int nvmlInit_v2(void) { return OK; }
int nvmlShutdown(void) { return OK; }
int nvmlSystemGetDriverVersion(char *text, unsigned length) {
    snprintf(text, length, "580.95.05");
    return OK;
}
int nvmlDeviceGetCount_v2(unsigned *count) { *count = GPUS; return OK; }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, device *gpu) {
    *gpu = (device)(size_t)(index + 1);
    return OK;
}
int nvmlDeviceGetUUID(device gpu, char *text, unsigned length) {
    snprintf(text, length, "GPU-%u", index_of(gpu));
    return OK;
}
int nvmlDeviceGetName(device gpu, char *text, unsigned length) {
    (void)gpu;
    snprintf(text, length, "NVIDIA H100 \"80GB\"");
    return OK;
}

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
typedef struct { unsigned version; unsigned long long total, reserved, free, used; } memory;
int nvmlDeviceGetMemoryInfo_v2(device gpu, memory *m) {
    (void)gpu;
    m->total = 80ULL << 30;
    m->reserved = 0;
    m->free = 60ULL << 30;
    m->used = 20ULL << 30;
    return OK;
}
int nvmlDeviceGetTemperature(device gpu, int sensor, unsigned *celsius) {
    (void)sensor;
    *celsius = 50 + index_of(gpu);
    return OK;
}
int nvmlDeviceGetPowerUsage(device gpu, unsigned *milliwatts) {
    *milliwatts = 123456 + index_of(gpu);
    return OK;
}
int nvmlDeviceGetClockInfo(device gpu, int clock, unsigned *mhz) {
    (void)gpu;
    *mhz = 1000 + clock;
    return OK;
}
int nvmlDeviceGetPerformanceState(device gpu, int *state) { (void)gpu; *state = 0; return OK; }
int nvmlDeviceGetFanSpeed_v2(device gpu, unsigned fan, unsigned *percent) {
    (void)gpu, (void)fan, (void)percent;
    return NOT_SUPPORTED;
}
int nvmlDeviceGetCurrentClocksThrottleReasons(device gpu, unsigned long long *reasons) {
    (void)gpu;
    *reasons = 4;
    return OK;
}
int nvmlDeviceGetPowerManagementLimit(device gpu, unsigned *milliwatts) {
    (void)gpu;
    *milliwatts = 700000;
    return OK;
}
int nvmlDeviceGetEccMode(device gpu, int *now, int *pending) {
    (void)gpu;
    *now = 1;
    *pending = 1;
    return OK;
}

typedef struct {
    unsigned field, scope;
    long long timestamp, latency;
    int type, status;
    union { unsigned u; unsigned long long ull; } value;
} field;
/* Even fields are there, as 1000 times themselves and the GPU's index. */
int nvmlDeviceGetFieldValues(device gpu, int count, field *fields) {
    for (int i = 0; i < count; i++) {
        fields[i].status = fields[i].field % 2 ? NOT_SUPPORTED : OK;
        fields[i].type = fields[i].field == 186 || fields[i].field == 82 ? UINT : ULONGLONG;
        if (fields[i].field == 186) fields[i].value.u = 98765;
        else if (fields[i].field == 82) fields[i].value.u = 70;
        else if (fields[i].field == 144) fields[i].value.ull = 1;
        else fields[i].value.ull = fields[i].field * 1000ULL + index_of(gpu);
    }
    return OK;
}

int nvmlEventSetCreate(set **events) {
    *events = calloc(1, sizeof **events);
    return OK;
}
int nvmlDeviceRegisterEvents(device gpu, unsigned long long types, set *events) {
    (void)types;
    events->gpu = gpu;
    return OK;
}
typedef struct { device gpu; unsigned long long type, data; unsigned instance, compute; } event;
/* GPU 2 tells of XID 13 and then of XID 79, once each. */
int nvmlEventSetWait_v2(set *events, event *data, unsigned timeout) {
    (void)timeout;
    if (index_of(events->gpu) != 2 || events->told == 2) return TIMEOUT;
    memset(data, 0, sizeof *data);
    data->gpu = events->gpu;
    data->type = 8;
    data->data = events->told++ ? 79 : 13;
    return OK;
}
int nvmlEventSetFree(set *events) { free(events); return OK; }
