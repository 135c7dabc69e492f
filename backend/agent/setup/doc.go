// Package setup runs set-up plans on an instance: their steps one after the other, whether or not anybody
// is connected.
//
// Each step runs under a runner, a small process of its own (`berth agent setup-step`), which outlives the
// agent, keeps the step's limit and writes its end durably. So the agent may be killed, replaced or
// restarted at any moment: the next one finds the runner, or what it left, and goes on. After a reboot in
// the middle of a step, the step is checked and run again, unless it says that it must not be.
//
// Where the agent is not root, a step of root is run by the verb setup-step of package root, which finds script
// and variables in the folder of the plan.
//
// Start with engine.go (the API), then drive.go (how a plan goes on), runner.go (the process around a
// step) and files.go (what lies in a plan's folder).
package setup
