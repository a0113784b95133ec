// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fcntl.h>
#include <poll.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <iterator>
#include <list>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "net/base/result.h"
#include "virtio/device.h"
#include "virtio/doorbell.h"
#include "virtio/interrupt.h"

namespace tapir::virtio::testing {

/// A device without an I/O thread that remembers what its transport told it. Members are set by the test
/// before the transport uses them.
class FakeDevice final : public Device {
 public:
  explicit FakeDevice(std::vector<std::uint16_t> sizes) : sizes_(std::move(sizes)) {}

  std::uint32_t type() const override { return device_type; }
  std::uint64_t features() const override { return offered; }
  bool accepts(std::uint64_t driver_features) const override { return (driver_features & refused) == 0; }
  std::span<const std::uint16_t> max_queue_sizes() const override { return sizes_; }

  void read_config(std::uint64_t offset, std::span<std::byte> into) const override {
    for (std::byte& byte : into) {
      byte = offset < config.size() ? config[offset] : std::byte{0};
      ++offset;
    }
  }
  void write_config(std::uint64_t offset, std::span<const std::byte> from) override {
    for (const std::byte byte : from) {
      if (offset < config.size()) {
        config[offset] = byte;
      }
      ++offset;
    }
  }

  Status activate(Activation activation) override {
    ++activations;
    if (refuse_activation) {
      return fail("the test refuses it");
    }
    active.emplace(std::move(activation));
    if (on_activate) {
      on_activate(*active->notifier);
    }
    return {};
  }
  void reset() override {
    ++resets;
    if (on_reset && active) {
      on_reset(*active->notifier);
    }
    active.reset();
  }
  void reset_queue(std::uint16_t index) override { queue_resets.push_back(index); }
  Status enable_queue(ActiveQueue queue) override {
    if (refuse_activation) {
      return fail("the test refuses it");
    }
    enabled_again.push_back(std::move(queue));
    return {};
  }

  std::uint32_t device_type = 1;
  std::uint64_t offered = std::uint64_t{1} << 32U | 0x0000'00FFU;  ///< VIRTIO_F_VERSION_1 and eight others
  std::uint64_t refused = 0;                                       ///< accepts() says no to any of these
  std::vector<std::byte> config = std::vector<std::byte>(24);
  bool refuse_activation = false;
  /// What an I/O thread would do meanwhile.
  std::function<void(Notifier&)> on_activate;
  std::function<void(Notifier&)> on_reset;

  int activations = 0;
  int resets = 0;
  std::vector<std::uint16_t> queue_resets;
  std::vector<ActiveQueue> enabled_again;
  std::optional<Activation> active;

 private:
  std::vector<std::uint16_t> sizes_;
};

/// Counts; any thread.
class FakeInterrupt final : public MsiInterrupt {
 public:
  void trigger() override { ++triggers; }
  Status set_message(const MsiMessage& message) override {
    if (refuse_message) {
      return fail("the test refuses it");
    }
    messages.push_back(message);
    return {};
  }
  std::atomic<int> triggers{0};
  bool refuse_message = false;
  std::vector<MsiMessage> messages;
};

class FakeLine final : public LevelInterrupt {
 public:
  void set_level(bool asserted) override {
    level.store(asserted);
    ++changes;
  }
  std::atomic<bool> level{false};
  std::atomic<int> changes{0};
};

/// Bindings that the test can look at; write() plays the guest, like KVM_IOEVENTFD.
class FakeDoorbell final : public Doorbell {
 public:
  struct Bound {
    std::uint64_t address;
    unsigned bytes;
    std::optional<std::uint64_t> value;
    int event_fd;
  };

  Result<std::unique_ptr<Binding>> bind(GuestAddress address, unsigned bytes,
                                        std::optional<std::uint64_t> value, int event_fd) override {
    if (refuse) {
      return fail("the test refuses it");
    }
    bound.push_back({to_integer(address), bytes, value, event_fd});
    return std::make_unique<Entry>(*this, std::prev(bound.end()));
  }

  std::list<Bound> bound;
  bool refuse = false;
  int unbound_after_close = 0;

 private:
  class Entry final : public Binding {
   public:
    Entry(FakeDoorbell& owner, std::list<Bound>::iterator at) : owner_(owner), at_(at) {}
    Entry(const Entry&) = delete;
    Entry& operator=(const Entry&) = delete;
    ~Entry() override {
      // As KVM_IOEVENTFD does: the binding is ended by its eventfd, which has to be open still.
      owner_.unbound_after_close += ::fcntl(at_->event_fd, F_GETFD) < 0 ? 1 : 0;
      owner_.bound.erase(at_);
    }

   private:
    FakeDoorbell& owner_;
    std::list<Bound>::iterator at_;
  };
};

/// Whether the eventfd is readable; it stays so.
inline bool is_signalled(int event_fd) {
  pollfd poll_fd{event_fd, POLLIN, 0};
  return ::poll(&poll_fd, 1, 0) == 1;
}

}  // namespace tapir::virtio::testing
