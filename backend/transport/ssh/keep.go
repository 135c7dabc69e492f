package ssh

// Keep leaves only the lines whose keys keep names, and lets none of them come back once it is lost: another process
// has taken over, and this one carries what is under way to its end. It may be called again, with fewer keys.
func (m *Manager) Keep(keep func(key string) bool) {
	m.mu.Lock()
	m.handedOver = true
	var drop []string
	for key, l := range m.lines {
		m.stopRetry(l)
		if !keep(key) {
			drop = append(drop, key)
		}
	}
	m.mu.Unlock()
	for _, key := range drop {
		m.Drop(key)
	}
}

func (m *Manager) isHandedOver() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.handedOver
}
