//go:build linux && cgo

package gonvml

import (
	bindings "github.com/NVIDIA/go-nvml/pkg/nvml"

	"berth/gpu/nvml"
)

type device struct {
	lib *library
	d   bindings.Device
}

func (d device) Key() any { return d.d }

// number adapts the bindings' answers.
func number[T ~int | ~int32 | ~uint32 | ~uint64](v T, r bindings.Return) (uint64, nvml.Return) {
	return uint64(v), nvml.Return(r)
}

func pair[T ~int | ~int32 | ~uint32](v, _ T, r bindings.Return) (uint64, nvml.Return) {
	return uint64(v), nvml.Return(r)
}

// Number calls the binding of the query's function.
func (d device) Number(q nvml.Query) (uint64, nvml.Return) {
	if !d.lib.has(q.Function) {
		return 0, nvml.FunctionNotFound
	}
	switch q.Function {
	case nvml.PowerUsage.Function:
		return number(d.d.GetPowerUsage())
	case nvml.PowerLimit.Function:
		return number(d.d.GetEnforcedPowerLimit())
	case nvml.Energy.Function:
		return number(d.d.GetTotalEnergyConsumption())
	case nvml.Temperature.Function:
		//nolint:staticcheck // the newer one is asked where this fails
		return number(d.d.GetTemperature(bindings.TemperatureSensors(q.First)))
	case nvml.Slowdown.Function:
		return number(d.d.GetTemperatureThreshold(bindings.TemperatureThresholds(q.First)))
	case nvml.FanSpeed.Function:
		return number(d.d.GetFanSpeed())
	case nvml.SMClock.Function:
		return number(d.d.GetClockInfo(bindings.ClockType(q.First)))
	case nvml.MaxSMClock.Function:
		return number(d.d.GetMaxClockInfo(bindings.ClockType(q.First)))
	case nvml.PerformanceState.Function:
		return number(d.d.GetPerformanceState())
	case nvml.EventReasons.Function:
		return number(d.d.GetCurrentClocksEventReasons())
	case nvml.ThrottleReasons.Function:
		return number(d.d.GetCurrentClocksThrottleReasons()) //nolint:staticcheck // older drivers have only this
	case nvml.Encoder.Function:
		return pair(d.d.GetEncoderUtilization())
	case nvml.Decoder.Function:
		return pair(d.d.GetDecoderUtilization())
	case nvml.PCIeRx.Function:
		return number(d.d.GetPcieThroughput(bindings.PcieUtilCounter(q.First)))
	case nvml.PCIeGeneration.Function:
		return number(d.d.GetCurrPcieLinkGeneration())
	case nvml.PCIeWidth.Function:
		return number(d.d.GetCurrPcieLinkWidth())
	case nvml.ECCMode.Function:
		return pair(d.d.GetEccMode())
	case "nvmlDeviceGetTotalEccErrors":
		return number(d.d.GetTotalEccErrors(bindings.MemoryErrorType(q.First), bindings.EccCounterType(q.Second)))
	case nvml.Persistence.Function:
		return number(d.d.GetPersistenceMode())
	case nvml.ComputeMode.Function:
		return number(d.d.GetComputeMode())
	case nvml.MIGMode.Function:
		return pair(d.d.GetMigMode())
	case nvml.MaxMIGDevices.Function:
		return number(d.d.GetMaxMigDeviceCount())
	case nvml.GPUInstanceID.Function:
		return number(d.d.GetGpuInstanceId())
	case nvml.ComputeInstanceID.Function:
		return number(d.d.GetComputeInstanceId())
	case "nvmlDeviceGetNvLinkState":
		return number(d.d.GetNvLinkState(q.First))
	case "nvmlDeviceGetNvLinkRemoteDeviceType":
		return number(d.d.GetNvLinkRemoteDeviceType(q.First))
	}
	return 0, nvml.FunctionNotFound
}

func (d device) Name() (string, nvml.Return) {
	if !d.lib.has("nvmlDeviceGetName") {
		return "", nvml.FunctionNotFound
	}
	v, r := d.d.GetName()
	return v, nvml.Return(r)
}

func (d device) UUID() (string, nvml.Return) {
	if !d.lib.has("nvmlDeviceGetUUID") {
		return "", nvml.FunctionNotFound
	}
	v, r := d.d.GetUUID()
	return v, nvml.Return(r)
}

// text reads a buffer that the library ended with a zero.
func text[T ~int8 | ~uint8](b []T) string {
	out := make([]byte, 0, len(b))
	for _, c := range b {
		if c == 0 {
			break
		}
		out = append(out, byte(c))
	}
	return string(out)
}

func (d device) PCI() (string, nvml.Return) {
	if !d.lib.has("nvmlDeviceGetPciInfo_v3") { // older ones have a shorter structure
		return "", nvml.FunctionNotFound
	}
	p, r := d.d.GetPciInfo()
	return text(p.BusId[:]), nvml.Return(r)
}

func (d device) NVLinkRemote(link int) (string, nvml.Return) {
	if !d.lib.has("nvmlDeviceGetNvLinkRemotePciInfo_v2") {
		return "", nvml.FunctionNotFound
	}
	p, r := d.d.GetNvLinkRemotePciInfo(link)
	return text(p.BusId[:]), nvml.Return(r)
}

func (d device) Utilization() (gpu, memory uint32, r nvml.Return) {
	if !d.lib.has("nvmlDeviceGetUtilizationRates") {
		return 0, 0, nvml.FunctionNotFound
	}
	u, ret := d.d.GetUtilizationRates()
	return u.Gpu, u.Memory, nvml.Return(ret)
}

func (d device) Memory() (nvml.Memory, nvml.Return) {
	if !d.lib.has("nvmlDeviceGetMemoryInfo") {
		return nvml.Memory{}, nvml.FunctionNotFound
	}
	m, r := d.d.GetMemoryInfo()
	return nvml.Memory{Total: m.Total, Free: m.Free, Used: m.Used}, nvml.Return(r)
}

func (d device) MemoryV2() (nvml.Memory, nvml.Return) {
	if !d.lib.has("nvmlDeviceGetMemoryInfo_v2") {
		return nvml.Memory{}, nvml.FunctionNotFound
	}
	m, r := d.d.GetMemoryInfo_v2()
	return nvml.Memory{Total: m.Total, Reserved: m.Reserved, Free: m.Free, Used: m.Used}, nvml.Return(r)
}

func (d device) TemperatureV() (int, nvml.Return) {
	if !d.lib.has("nvmlDeviceGetTemperatureV") {
		return 0, nvml.FunctionNotFound
	}
	t, r := d.d.GetTemperatureV().V1()
	return int(t.Temperature), nvml.Return(r)
}

func (d device) Fields(f []nvml.Field) nvml.Return {
	if !d.lib.has("nvmlDeviceGetFieldValues") {
		return nvml.FunctionNotFound
	}
	list := make([]bindings.FieldValue, len(f))
	for i := range f {
		list[i] = bindings.FieldValue{FieldId: f[i].ID, ScopeId: f[i].Scope}
	}
	r := d.d.GetFieldValues(list)
	for i, v := range list {
		f[i].At, f[i].Return, f[i].Value = v.Timestamp, nvml.Return(v.NvmlReturn), nvml.FieldValue(v.ValueType, v.Value)
	}
	return nvml.Return(r)
}

func (d device) Remapped() (nvml.Remapped, nvml.Return) {
	if !d.lib.has("nvmlDeviceGetRemappedRows") {
		return nvml.Remapped{}, nvml.FunctionNotFound
	}
	c, u, pending, failed, r := d.d.GetRemappedRows()
	return nvml.Remapped{Corrected: uint32(c), Uncorrected: uint32(u), Pending: pending, Failed: failed}, nvml.Return(r)
}

func (d device) MIGDevice(index int) (nvml.Device, nvml.Return) {
	if !d.lib.has("nvmlDeviceGetMigDeviceHandleByIndex") {
		return nil, nvml.FunctionNotFound
	}
	m, r := d.d.GetMigDeviceHandleByIndex(index)
	return device{d.lib, m}, nvml.Return(r)
}

func (d device) Processes(graphics bool) ([]nvml.Process, nvml.Return) {
	base, ask := "nvmlDeviceGetComputeRunningProcesses", d.d.GetComputeRunningProcesses
	if graphics {
		base, ask = "nvmlDeviceGetGraphicsRunningProcesses", d.d.GetGraphicsRunningProcesses
	}
	if !d.lib.has(base+"_v3", base+"_v2", base) {
		return nil, nvml.FunctionNotFound
	}
	list, r := ask()
	out := make([]nvml.Process, 0, len(list))
	for _, p := range list {
		out = append(out, nvml.Process{PID: p.Pid, Memory: p.UsedGpuMemory})
	}
	return out, nvml.Return(r)
}

func (d device) Samples(after uint64) ([]nvml.Sample, nvml.Return) {
	if !d.lib.has("nvmlDeviceGetProcessUtilization") {
		return nil, nvml.FunctionNotFound
	}
	list, r := d.d.GetProcessUtilization(after)
	out := make([]nvml.Sample, 0, len(list))
	for _, s := range list {
		out = append(out, nvml.Sample{PID: s.Pid, At: s.TimeStamp, SM: s.SmUtil, Encoder: s.EncUtil, Decoder: s.DecUtil})
	}
	return out, nvml.Return(r)
}

func (d device) Topology(other nvml.Device) (uint32, nvml.Return) {
	if !d.lib.has("nvmlDeviceGetTopologyCommonAncestor") {
		return 0, nvml.FunctionNotFound
	}
	v, r := d.d.GetTopologyCommonAncestor(other.(device).d)
	return uint32(v), nvml.Return(r)
}

func (d device) Register(types uint64, s nvml.EventSet) nvml.Return {
	if !d.lib.has("nvmlDeviceRegisterEvents") {
		return nvml.FunctionNotFound
	}
	return nvml.Return(d.d.RegisterEvents(types, s.(eventSet).set))
}
