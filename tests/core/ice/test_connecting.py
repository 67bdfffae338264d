from trio_webrtc.core.ice import AgentState


def test_two_agents_connect_in_a_few_round_trips(new_connected_pair):
    world, left, right = new_connected_pair(latency=0.02)
    assert world.now - 1000 <= 0.02 * 5
    world.run(1)
    assert left.agent.state is right.agent.state is AgentState.COMPLETED
