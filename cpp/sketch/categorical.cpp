#include "sketch/categorical.hpp"

#include <bit>
#include <cmath>
#include <type_traits>

namespace kedge::sketch {
namespace {

std::uint64_t mix(std::uint64_t value) {
  value *= 0x9E3779B97F4A7C15ULL;
  return value ^ (value >> 32U);
}

std::uint64_t hash_bytes(const char* data, std::size_t size) {
  const auto word = [](const char* at) {
    return load<std::uint64_t>(reinterpret_cast<const std::byte*>(at));
  };
  const auto half = [](const char* at) {
    return std::uint64_t{load<std::uint32_t>(reinterpret_cast<const std::byte*>(at))};
  };
  const auto byte = [](char c) { return std::uint64_t{static_cast<unsigned char>(c)}; };
  std::uint64_t hash = size;
  if (size >= 8) {
    const char* const last = data + size - 8;
    for (; data < last; data += 8) hash = mix(hash ^ word(data));
    return mix(hash ^ word(last));
  }
  if (size >= 4) return mix(hash ^ mix(half(data) << 32U | half(data + size - 4)));
  if (size > 0)
    return mix(hash ^ mix(byte(data[0]) << 16U | byte(data[size / 2]) << 8U | byte(data[size - 1])));
  return mix(hash);
}

template <class T>
std::size_t slot_of(const CategoryTable& table, T value) {
  if constexpr (std::is_floating_point_v<T>) {
    const auto x = static_cast<double>(value);
    if (std::isnan(x)) return kCatMissing;
    if (!table.integers() || !(x >= -0x1p63 && x < 0x1p63) || x != std::trunc(x)) return kCatInvalid;
    return table.find(static_cast<std::int64_t>(x));
  } else if constexpr (std::is_integral_v<T>) {
    if (!table.integers()) return kCatInvalid;
    if constexpr (std::is_same_v<T, std::uint64_t>) {
      if (value > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) return kCatUnseen;
    }
    return table.find(static_cast<std::int64_t>(value));
  } else {
    return slot_of(table, widen<float>(value));
  }
}

}  // namespace

CategoryTable::CategoryTable(const CategoricalFeature& feature)
    : integers_(std::holds_alternative<std::int64_t>(feature.vocabulary.front())) {
  const std::size_t known = feature.vocabulary.size() + feature.other.size() + 1;
  entries_.resize(std::bit_ceil(2 * known));
  mask_ = entries_.size() - 1;
  for (std::size_t i = 0; i < feature.vocabulary.size(); ++i) insert(feature.vocabulary[i], i);
  for (const Category& category : feature.other) insert(category, kCatOther);
  if (feature.missing) insert(*feature.missing, kCatMissing);
}

void CategoryTable::insert(const Category& category, std::size_t slot) {
  Entry entry;
  entry.slot = static_cast<std::uint32_t>(slot);
  std::uint64_t at = 0;
  if (const auto* integer = std::get_if<std::int64_t>(&category)) {
    entry.hash = static_cast<std::uint64_t>(*integer);
    at = mix(entry.hash);
  } else {
    const auto& text = std::get<std::string>(category);
    entry.hash = at = hash_bytes(text.data(), text.size());
    entry.begin = static_cast<std::uint32_t>(text_.size());
    entry.size = static_cast<std::uint32_t>(text.size());
    text_ += text;
  }
  while (entries_[at & mask_].slot != kEmpty) ++at;
  entries_[at & mask_] = entry;
}

std::size_t CategoryTable::find(std::string_view category) const {
  const std::uint64_t hash = hash_bytes(category.data(), category.size());
  for (std::uint64_t at = hash;; ++at) {
    const Entry& entry = entries_[at & mask_];
    if (entry.slot == kEmpty) return kCatUnseen;
    if (entry.hash == hash && category == std::string_view(text_.data() + entry.begin, entry.size))
      return entry.slot;
  }
}

std::size_t CategoryTable::find(std::int64_t category) const {
  const auto key = static_cast<std::uint64_t>(category);
  for (std::uint64_t at = mix(key);; ++at) {
    const Entry& entry = entries_[at & mask_];
    if (entry.slot == kEmpty) return kCatUnseen;
    if (entry.hash == key) return entry.slot;
  }
}

std::size_t CategoryTable::slot(Element element, const std::byte* at) const {
  if (element == Element::kString) return integers_ ? kCatInvalid : find(load<std::string_view>(at));
  std::size_t slot = kCatInvalid;
  with_element(element, [&](auto type) { slot = slot_of(*this, load<decltype(type)>(at)); });
  return slot;
}

void CategoricalCounter::observe(std::span<const TensorView> tensors, std::span<std::int64_t> words) const {
  const TensorView& view = tensors[tensor_];
  const auto slots = words.subspan(slots_, kCategoricalSlots);
  if (view.rows == 0) return;
  const std::byte* at = view.at(0, column_);
  if (view.element == Element::kString) {
    if (table_.integers()) {
      slots[kCatInvalid] += static_cast<std::int64_t>(view.rows);
      return;
    }
    for (std::size_t row = 0; row < view.rows; ++row, at += view.row_stride) {
      ++slots[table_.find(load<std::string_view>(at))];
    }
    return;
  }
  with_element(view.element, [&](auto type) {
    using Value = decltype(type);
    for (std::size_t row = 0; row < view.rows; ++row, at += view.row_stride) {
      ++slots[slot_of(table_, load<Value>(at))];
    }
  });
}

}  // namespace kedge::sketch
