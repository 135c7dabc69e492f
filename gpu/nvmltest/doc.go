// Package nvmltest gives tests a driver: a small libnvidia-ml.so.1 and a small nvidia-smi, written in C in
// fake/, compiled on first use, that answer what a Scenario says. A test changes the scenario while they
// run.
//
//	fake := nvmltest.New(t, nvmltest.Scenario{GPUs: nvmltest.A100s(8)})
//	cmd.Env = append(os.Environ(), fake.Env()...)    // for a program that loads NVML through BERTH_NVML_LIBRARY
//	s := fake.Scenario()
//	s.GPUs[3].Set(nvmltest.Temperature, 91)
//	fake.Set(s)
//
// Only tests import it. Where there is no C compiler the test skips; with BERTH_CI set it fails.
package nvmltest
