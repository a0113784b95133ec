// SPDX-License-Identifier: Apache-2.0
// The control virtqueue of a network device. The first byte leaves out features, the second one says how
// commands are cut into descriptors; then come commands, each a byte for its length and that many bytes,
// class and command first.
#include <linux/virtio_config.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <span>

#include "net/base/check.h"
#include "net/offload.h"
#include "virtio/net_control.h"
#include "virtio/net_features.h"
#include "virtio/testing/driver_queue.h"

namespace {

using namespace tapir;
using namespace tapir::virtio;

constexpr std::uint64_t kRings = 0x1000;
constexpr std::uint64_t kCommand = 0x10001;  // aligned for nobody
constexpr std::uint64_t kAnswer = 0x20000;
constexpr std::uint16_t kQueueSize = 16;
constexpr std::byte kNoAnswer{0x55};

class SilentNotifier final : public Notifier {
 public:
  void notify_queue(std::uint16_t /*queue*/) override {}
  void notify_config() override {}
  void set_needs_reset() override {}
};

constexpr std::uint16_t kPairs = 4;

/// A host end that takes every offload and carries no frames.
class NoFrames final : public net::FrameIo {
 public:
  const net::FrameIoFeatures& features() const override { return features_; }
  Status set_offloads(unsigned tun_offloads) override {
    CHECK((tun_offloads & ~net::kAllTunOffloads) == 0);
    return {};
  }
  Status attach_queue(bool /*attached*/) override { return {}; }
  Status start() override { return {}; }
  void stop() override {}
  Result<unsigned> watch(int /*event_fd*/) override { return 0U; }
  void unwatch(unsigned /*bit*/) override {}
  void want_receive(bool /*wanted*/) override {}
  WaitResult wait(std::optional<Clock::time_point> /*deadline*/) override { return {}; }
  std::size_t transmit(std::span<net::TransmitFrame> frames) override { return frames.size(); }
  net::ReceiveEnd receive(net::ReceiveSink& /*sink*/, net::Budget /*budget*/) override {
    return net::ReceiveEnd::kDrained;
  }
  void discard_received() override {}
  const net::FrameIoCounters& counters() const override { return counters_; }

 private:
  net::FrameIoFeatures features_{true, net::kAllTunOffloads, 1500};
  net::FrameIoCounters counters_;
};

std::uint64_t features_without(std::uint8_t left_out) {
  constexpr std::array<unsigned, 8> kOptional{VIRTIO_NET_F_CTRL_RX,    VIRTIO_NET_F_CTRL_RX_EXTRA,
                                              VIRTIO_NET_F_CTRL_VLAN,  VIRTIO_NET_F_CTRL_MAC_ADDR,
                                              VIRTIO_NET_F_GUEST_ECN,  VIRTIO_NET_F_CTRL_GUEST_OFFLOADS,
                                              VIRTIO_RING_F_EVENT_IDX, VIRTIO_NET_F_NOTF_COAL};
  std::uint64_t off = 0;
  for (unsigned i = 0; i < kOptional.size(); ++i) {
    off |= std::uint64_t{left_out >> i & 1U} << kOptional[i];
  }
  const std::uint64_t offered = offered_net_features({true, net::kAllTunOffloads, 1500});
  return without_net_features(offered | std::uint64_t{1} << VIRTIO_NET_F_MQ, off | kOffByDefault);
}

struct Fixture {
  explicit Fixture(std::uint64_t accepted)
      : features(accepted),
        driver(memory(), testing::DriverQueue::place(kRings, kQueueSize),
               has_feature(accepted, VIRTIO_RING_F_EVENT_IDX)) {
    rules.publish({features, ReceiveFilter(configuration.mac(), features)});
    auto queue = Virtqueue::create(memory(), driver.layout(), features);
    CHECK(queue.has_value());
    control.emplace(NetQueue{*std::move(queue), 2, notifier, counters}, features, configuration, rules,
                    coalescing, [](std::uint16_t pairs) { return pairs <= kPairs; });
  }
  static const GuestMemory& memory() {
    static const GuestMemory memory = *GuestMemory::create(std::uint64_t{256} << 10);
    return memory;
  }

  std::uint64_t features;
  NetConfiguration configuration{net::MacAddress{{0x52, 0x54, 0, 1, 2, 3}}};
  PublishedRules rules;
  NetCoalescing coalescing;
  SilentNotifier notifier;
  NetQueueCounters counters;
  NoFrames io;
  testing::DriverQueue driver;
  std::optional<NetControl> control;
};

/// One command; whether it was obeyed.
bool command(Fixture& fixture, std::span<const std::uint8_t> bytes, unsigned cut) {
  CHECK(Fixture::memory().write(GuestAddress{kCommand}, std::as_bytes(bytes)));
  CHECK(Fixture::memory().write_object(GuestAddress{kAnswer}, kNoAnswer));
  testing::ChainBuilder chain;
  // Pieces of `cut` bytes, and the last takes the rest.
  std::uint32_t at = 0;
  const auto size = static_cast<std::uint32_t>(bytes.size());
  for (unsigned pieces = 0; at < size && pieces + 2 < kQueueSize; ++pieces) {
    const std::uint32_t taken = pieces + 3 == kQueueSize ? size - at : std::min(cut + 1, size - at);
    chain.readable(kCommand + at, taken);
    at += taken;
  }
  chain.writable(kAnswer, 1);
  CHECK(fixture.driver.add(chain).has_value());
  fixture.driver.publish();
  CHECK(fixture.control->run(fixture.io) != TurnEnd::kBroken);
  const auto used = fixture.driver.take_used();
  const auto answer = Fixture::memory().read_object<std::uint8_t>(GuestAddress{kAnswer});
  CHECK(used && used->bytes == 1 && (answer == VIRTIO_NET_OK || answer == VIRTIO_NET_ERR));
  return answer == VIRTIO_NET_OK;
}

/// The feature that a class of commands needs.
bool may_be_obeyed(std::uint64_t features, std::uint8_t command_class) {
  switch (command_class) {
    case VIRTIO_NET_CTRL_RX:
      return has_feature(features, VIRTIO_NET_F_CTRL_RX) || has_feature(features, VIRTIO_NET_F_CTRL_RX_EXTRA);
    case VIRTIO_NET_CTRL_MAC:
      return has_feature(features, VIRTIO_NET_F_CTRL_RX) || has_feature(features, VIRTIO_NET_F_CTRL_MAC_ADDR);
    case VIRTIO_NET_CTRL_VLAN:
      return has_feature(features, VIRTIO_NET_F_CTRL_VLAN);
    case VIRTIO_NET_CTRL_GUEST_OFFLOADS:
      return has_feature(features, VIRTIO_NET_F_CTRL_GUEST_OFFLOADS);
    case VIRTIO_NET_CTRL_MQ:
      return has_feature(features, VIRTIO_NET_F_MQ);
    case VIRTIO_NET_CTRL_NOTF_COAL:
      return has_feature(features, VIRTIO_NET_F_NOTF_COAL);
    default:
      return false;
  }
}

}  // namespace

// C125, C139, NET-05
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::span<const std::uint8_t> input(data, size);
  if (input.size() < 2) {
    return 0;
  }
  Fixture fixture(features_without(input[0]));
  const unsigned cut = input[1];
  input = input.subspan(2);
  RulesInForce rules(fixture.rules);
  while (!input.empty()) {
    const std::size_t bytes = std::min<std::size_t>(input[0], input.size() - 1);
    const auto one = input.subspan(1, bytes);
    input = input.subspan(1 + bytes);
    const bool obeyed = command(fixture, one, cut);
    CHECK(!obeyed || (bytes >= 2 && may_be_obeyed(fixture.features, one[0])));
    CHECK(!fixture.configuration.mac().is_multicast() && !fixture.configuration.mac().is_zero());
    CHECK((rules.get().features & ~fixture.features) == 0 && net_features_consistent(rules.get().features));
    static_cast<void>(rules.get().filter.accepts(std::as_bytes(one)));
  }
  return 0;
}
