"""Features that belong together, in the order of a model's columns. A recipe names one of these sets."""

from __future__ import annotations

from typing import Final

from walkforward_core.features.ohlcv import TABLE

__all__ = ["DAILY_40", "DRIFT_ROBUST_7", "OHLCV", "OHLCV_11", "SETS", "TECHNICAL_17"]

OHLCV: Final = tuple(TABLE)
"""Of the recipe ``ohlcv``."""

OHLCV_11: Final = (
    "mean_ret_20",
    "vol_20",
    "ret_1",
    "mean_ret_5",
    "ema_9_away",
    "ema_21_away",
    "rsi_14_unit",
    "bollinger_20",
    "volume_spike_20",
    "range_share",
    "close_place",
)
"""Of the recipe ``ohlcv-direction``."""

TECHNICAL_17: Final = (
    "ret_1",
    "ret_3",
    "ret_12",
    "vol_20",
    "vol_ratio_5_20",
    "atr_14",
    "rsi_14",
    "macd_hist_12_26_9",
    "stoch_k_14",
    "cci_20",
    "mfi_14",
    "adx_14",
    "di_14",
    "ema_21_away",
    "bollinger_20",
    "bollinger_width_20",
    "volume_z_20",
)
"""Of the recipe ``multi-timeframe``: nothing with a level (price, volume) that moves on, and nothing that a bar of a day has no use for."""

DAILY_40: Final = (
    "ret_1",
    "ret_5",
    "ret_20",
    "roc_10",
    "gap_1",
    "body_place",
    "close_place",
    "vol_20",
    "vol_ratio_5_20",
    "vol_ratio_20_100",
    "parkinson_20",
    "skew_60",
    "kurt_60",
    "autocorr_20",
    "atr_14",
    "range_atr_14",
    "rsi_14",
    "stoch_k_14",
    "stoch_d_14",
    "williams_14",
    "cci_20",
    "ultimate",
    "macd_12_26",
    "macd_hist_12_26_9",
    "trix_15",
    "aroon_up_25",
    "aroon_down_25",
    "adx_14",
    "plus_di_14",
    "minus_di_14",
    "psar_96",
    "ichimoku_tenkan",
    "ichimoku_kijun",
    "ichimoku_cloud_a",
    "ichimoku_cloud_b",
    "ema_21_away",
    "sma_50_away",
    "sma_50_200",
    "slope_20",
    "bollinger_20",
    "bollinger_width_20",
    "keltner_20",
    "keltner_width_20",
    "donchian_20",
    "donchian_width_20",
    "obv_20",
    "vwap_away_20",
    "mfi_14",
    "cmf_20",
    "volume_z_20",
    "week_sin",
    "week_cos",
    "year_sin",
    "year_cos",
)
"""Of the recipe ``daily-ensemble``: more than forty, of which selection inside the folds keeps what it needs."""

DRIFT_ROBUST_7: Final = ("bias", "mid_logret_1m", "mid_logret_5m", "spread_bp", "vol1m_log", "rsi14_z", "zscore_mid_24h")
"""Of the recipe ``drift-robust``, from samples."""

SETS: Final = {
    "OHLCV": OHLCV,
    "OHLCV_11": OHLCV_11,
    "TECHNICAL_17": TECHNICAL_17,
    "DAILY_40": DAILY_40,
    "DRIFT_ROBUST_7": DRIFT_ROBUST_7,
}
"""Every set by its name in Python."""
