// SPDX-License-Identifier: Apache-2.0
#include "vmm/bus.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <mutex>
#include <utility>

namespace tapir::vmm {

Status Bus::add(std::uint64_t start, std::uint64_t bytes, BusHandler& handler) {
  const std::uint64_t last = start + (bytes - 1);
  if (bytes == 0 || last < start) {
    return fail(fmt::format("bus range of {:#x} bytes at {:#x} is empty or too large", bytes, start));
  }
  const std::unique_lock guard(mutex_);
  // Ranges do not overlap, so the only one that can reach into this one from below is the last that begins
  // at or before its end.
  const auto after = ranges_.upper_bound(last);
  if (after != ranges_.begin()) {
    const auto before = std::prev(after);
    if (before->first + (before->second->bytes - 1) >= start) {
      return fail(fmt::format("bus range {:#x}-{:#x} overlaps the one at {:#x}", start, last, before->first));
    }
  }
  ranges_.emplace_hint(after, start, std::make_shared<Range>(bytes, handler));
  return {};
}

void Bus::remove(std::uint64_t start) {
  std::shared_ptr<Range> gone;
  {
    const std::unique_lock guard(mutex_);
    const auto found = ranges_.find(start);
    if (found == ranges_.end()) {
      return;
    }
    gone = std::move(found->second);
    ranges_.erase(found);
  }
  // Nobody can enter any more; wait for those who are inside.
  for (unsigned users = gone->users.load(); users != 0; users = gone->users.load()) {
    gone->users.wait(users);
  }
}

bool Bus::read(std::uint64_t address, std::span<std::byte> into) const {
  const Lookup found = find(address, into.size());
  if (!found) {
    std::fill(into.begin(), into.end(), std::byte{0xFF});
    return false;
  }
  found.handler().read(found.offset(), into);
  return true;
}

bool Bus::write(std::uint64_t address, std::span<const std::byte> from) const {
  const Lookup found = find(address, from.size());
  if (!found) {
    return false;
  }
  found.handler().write(found.offset(), from);
  return true;
}

Bus::Lookup::Lookup(std::shared_ptr<Range> range, std::uint64_t offset)
    : range_(std::move(range)), offset_(offset) {
  range_->users.fetch_add(1);
}

Bus::Lookup::~Lookup() {
  if (range_ && range_->users.fetch_sub(1) == 1) {
    range_->users.notify_all();
  }
}

Bus::Lookup Bus::find(std::uint64_t address, std::uint64_t bytes) const {
  // Held until the range counts this thread, so that remove() cannot miss it.
  const std::shared_lock guard(mutex_);
  const auto after = ranges_.upper_bound(address);
  if (bytes == 0 || after == ranges_.begin()) {
    return {};
  }
  const auto& [start, range] = *std::prev(after);
  const std::uint64_t offset = address - start;
  if (offset >= range->bytes || bytes > range->bytes - offset) {
    return {};
  }
  return {range, offset};
}

}  // namespace tapir::vmm
