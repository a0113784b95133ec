// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <shared_mutex>
#include <span>

#include "net/base/result.h"

namespace tapir::vmm {

/// A device on the port or memory bus. Called on vCPU threads, several at once: a handler locks what it
/// shares. Accesses have the width that the guest used (1, 2, 4 or 8 bytes), little-endian. A handler never
/// fails: what it does not know reads as it sees fit and ignores writes.
class BusHandler {
 public:
  BusHandler() = default;
  BusHandler(const BusHandler&) = delete;
  BusHandler& operator=(const BusHandler&) = delete;
  virtual ~BusHandler() = default;
  /// `offset` counts from the start of the range that the handler was added at.
  virtual void read(std::uint64_t offset, std::span<std::byte> into) = 0;
  virtual void write(std::uint64_t offset, std::span<const std::byte> from) = 0;
};

/// Address ranges to handlers; one for I/O ports, one for guest-physical memory. Lookups run on every vCPU
/// thread and share a lock; changes (BAR moves) are rare. A handler may add ranges and remove those of
/// others, as the PCI host's window to configuration space does when a BAR moves: while a handler runs, no
/// lock is held.
class Bus {
 public:
  /// Adds a borrowed handler. Error: the range is empty, wraps, or overlaps another.
  [[nodiscard]] Status add(std::uint64_t start, std::uint64_t bytes, BusHandler& handler);
  /// Removes the range that begins at `start`, if there is one; when it returns no thread is inside its
  /// handler through this range. Must not be called from that handler.
  void remove(std::uint64_t start);

  /// An access that no range takes whole reads as all ones and writes nothing; returns whether one took it.
  bool read(std::uint64_t address, std::span<std::byte> into) const;
  bool write(std::uint64_t address, std::span<const std::byte> from) const;

 private:
  struct Range {
    Range(std::uint64_t length, BusHandler& to) : bytes(length), handler(to) {}
    const std::uint64_t bytes;
    BusHandler& handler;
    /// Threads inside the handler. A count and not a lock: entering it never waits, so that it has no place
    /// in the order of locks.
    std::atomic<unsigned> users{0};
  };
  /// The range that takes an access, or none, and the promise that it stays as long as this object.
  class Lookup {
   public:
    Lookup() = default;
    Lookup(std::shared_ptr<Range> range, std::uint64_t offset);
    Lookup(const Lookup&) = delete;
    Lookup& operator=(const Lookup&) = delete;
    ~Lookup();
    explicit operator bool() const { return range_ != nullptr; }
    BusHandler& handler() const { return range_->handler; }
    std::uint64_t offset() const { return offset_; }

   private:
    const std::shared_ptr<Range> range_;
    const std::uint64_t offset_ = 0;
  };
  Lookup find(std::uint64_t address, std::uint64_t bytes) const;

  mutable std::shared_mutex mutex_;                         ///< of ranges_; never held while a handler runs
  std::map<std::uint64_t, std::shared_ptr<Range>> ranges_;  ///< by start
};

}  // namespace tapir::vmm
