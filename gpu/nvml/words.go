package nvml

import (
	"errors"
	"fmt"
	"os"
	"strings"
)

// Why a driver gives nothing, for errors.Is.
var (
	// ErrNoLibrary means that libnvidia-ml.so.1 could not be loaded.
	ErrNoLibrary = errors.New("the NVIDIA driver's library can't be loaded")
	// ErrMismatch means that the library is of another version than the loaded kernel module.
	ErrMismatch = errors.New("driver/library version mismatch")
	// ErrNotLoaded means that the kernel module is not loaded.
	ErrNotLoaded = errors.New("the NVIDIA kernel module is not loaded")
	// ErrPermission means that this user may not open the devices.
	ErrPermission = errors.New("not allowed to ask the NVIDIA driver")
	// ErrDriver is any other failure of the driver as a whole.
	ErrDriver = errors.New("the NVIDIA driver does not answer")
)

// Failure says why the driver as a whole gives nothing, and what to do about it.
func Failure(r Return, doing string) error {
	switch r {
	case VersionMismatch:
		return fmt.Errorf("%w: the driver was upgraded while its old kernel module%s stayed loaded; reboot this host, or end all programs on GPUs and reload the module (rmmod nvidia_uvm nvidia_drm nvidia_modeset nvidia; modprobe nvidia)", ErrMismatch, loadedVersion())
	case DriverNotLoaded:
		return fmt.Errorf("%w: load it (sudo modprobe nvidia); if that fails, its module was not built for this kernel (dkms status) or Secure Boot refused it (dmesg)", ErrNotLoaded)
	case NoPermission, OperatingSystem:
		return fmt.Errorf("%w (%s): this user needs read and write access to /dev/nvidiactl and /dev/nvidia0…; in a container or a job, its device rules must allow them", ErrPermission, r)
	}
	return fmt.Errorf("%w: %s: %s", ErrDriver, doing, r)
}

// loadedVersion is " (570.86.15)" where the kernel tells the version of its module.
func loadedVersion() string {
	b, err := os.ReadFile("/sys/module/nvidia/version")
	if v := strings.TrimSpace(string(b)); err == nil && v != "" && len(v) < 40 {
		return " (" + v + ")"
	}
	return ""
}

// noLibrary explains what the dynamic loader said.
func noLibrary(err error) error {
	if os.Getenv(LibraryVariable) != "" {
		return fmt.Errorf("%w: %w (%s is set)", ErrNoLibrary, err, LibraryVariable)
	}
	if _, serr := os.Stat("/dev/dxg"); serr == nil {
		return fmt.Errorf("%w: %w; under WSL it comes with the driver of Windows and lies in /usr/lib/wsl/lib: update that driver, or run wsl --update", ErrNoLibrary, err)
	}
	return fmt.Errorf("%w: %w; install the driver's user part (libnvidia-compute or nvidia-utils of the module's version), or start the container with its GPUs (--gpus all)", ErrNoLibrary, err)
}

// lost says what is the matter with one GPU.
func lost(r Return) string {
	switch r {
	case GPUIsLost:
		return "lost: it fell off the bus and gives no answer; end what uses it and reboot the host; if it comes back, check its power, seat and cooling"
	case ResetRequired:
		return "it needs a reset before it can be used again: nvidia-smi --gpu-reset, with nothing running on it, or a reboot"
	case NoPermission, OperatingSystem:
		return "this user may not ask it (" + r.String() + "): its device file or the cgroup's device rules forbid it"
	case IRQIssue:
		return "the kernel has trouble with its interrupts (another driver, or the firmware's settings); look into dmesg"
	}
	return "the driver gives no figures of it: " + r.String()
}

// whole says whether a code of one GPU's call is about the driver as a whole.
func (r Return) whole() bool {
	return r == Uninitialized || r == DriverNotLoaded || r == VersionMismatch
}

// trouble says whether a code means more than that a GPU lacks a figure.
func (r Return) trouble() bool {
	switch r {
	case Success, NotSupported, FunctionNotFound, NoPermission, InvalidArgument, NotFound, InsufficientSize:
		return false
	}
	return true
}

// String is the library's own meaning of a code.
func (r Return) String() string {
	for _, n := range names {
		if n.r == r {
			return n.s
		}
	}
	return fmt.Sprintf("NVML's return code %d", uint32(r))
}

var names = []struct {
	r Return
	s string
}{
	{Success, "success"}, {Uninitialized, "not initialised"}, {InvalidArgument, "invalid argument"},
	{NotSupported, "not supported"},
	{NoPermission, "no permission"}, {5, "already initialised"}, {NotFound, "not found"},
	{InsufficientSize, "insufficient size"},
	{8, "its power cables are not attached"}, {DriverNotLoaded, "driver not loaded"}, {Timeout, "timeout"},
	{IRQIssue, "interrupt issue"},
	{LibraryNotFound, "library not found"}, {FunctionNotFound, "function not found"}, {14, "its infoROM is corrupted"},
	{GPUIsLost, "GPU is lost"},
	{ResetRequired, "reset required"}, {OperatingSystem, "blocked by the operating system"},
	{VersionMismatch, "driver/library version mismatch"},
	{19, "in use"}, {20, "out of memory"}, {21, "no data"}, {23, "out of resources"}, {25, "unknown structure version"},
	{26, "no longer supported"},
	{27, "not ready"}, {28, "no GPU found"}, {29, "invalid state"}, {Unknown, "unknown error"},
}
