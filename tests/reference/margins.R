# Estimated marginal means and differences of emmeans, on unbalanced rows.
# Run in this folder: Rscript margins.R > margins.json
suppressMessages({library(lme4); library(lmerTest); library(pbkrtest); library(emmeans); library(mvtnorm); library(jsonlite)})
set.seed(1)
emm_options(lmer.df = "satterthwaite", lmerTest.limit = 1e5, pbkrtest.limit = 1e5)

read <- function(name, factors) {
  frame <- read.csv(file.path("..", "data", paste0(name, ".csv")))
  frame$row <- seq_len(nrow(frame))
  for (f in factors) frame[[f]] <- factor(frame[[f]], levels = unique(frame[[f]]))
  frame
}
thinned <- function(frame) frame[frame$row %% 7 != 0 & frame$row %% 11 != 3, ]
polished <- lmerControl(optimizer = "bobyqa", optCtrl = list(rhoend = 1e-10))
fit <- function(formula, data) lmer(as.formula(formula), data, control = polished)

as_table <- function(x, value) {
  s <- as.data.frame(summary(x, infer = c(TRUE, TRUE)))
  names(s)[names(s) == value] <- "estimate"
  names(s)[names(s) %in% c("asymp.LCL", "lower.CL")] <- "lower"
  names(s)[names(s) %in% c("asymp.UCL", "upper.CL")] <- "upper"
  names(s)[names(s) %in% c("t.ratio", "z.ratio")] <- "statistic"
  keys <- setdiff(names(s), c("estimate", "SE", "df", "lower", "upper", "statistic", "p.value"))
  list(keys = lapply(s[keys], as.character), estimate = s$estimate, std_error = s$SE,
       df = ifelse(is.infinite(s$df), "Inf", s$df), statistic = s$statistic, p_value = s$p.value,
       ci_lower = s$lower, ci_upper = s$upper)
}

alfalfa <- list("Alfalfa", c("Date", "Variety", "Block"), "thinned", "Yield ~ Date * Variety + (1 | Block/Variety)")
whole <- replace(alfalfa, 3, "whole")
dietox <- list("dietox", c("Pig", "Cu", "Evit"), "thinned", "Weight ~ Time * Cu + Evit + I(Time^2) + (Time | Pig)")
cake <- list("cake", c("recipe", "replicate"), "thinned", "angle ~ recipe * temp + (1 | recipe:replicate)")
case <- function(model, args, make) list(model = model, args = args, make = make)
cases <- list(
  interaction = case(alfalfa, list(specs = "Date"), function(m) emmeans(m, "Date")),
  proportional = case(alfalfa, list(specs = "Date", weights = "proportional"), function(m) emmeans(m, "Date", weights = "proportional")),
  cells = case(alfalfa, list(specs = c("Date", "Variety")), function(m) emmeans(m, c("Date", "Variety"))),
  by_holm = case(alfalfa, list(specs = "Date", by = "Variety", pairwise = TRUE, adjust = "holm"),
                 function(m) contrast(emmeans(m, "Date", by = "Variety"), "pairwise", adjust = "holm")),
  by_tukey = case(alfalfa, list(specs = "Variety", by = "Date", pairwise = TRUE),
                  function(m) contrast(emmeans(m, "Variety", by = "Date"), "pairwise", adjust = "tukey")),
  kenward = case(alfalfa, list(specs = "Variety", pairwise = TRUE, adjust = "bonferroni", ddf = "kenward-roger"),
                 function(m) contrast(emmeans(m, "Variety", lmer.df = "kenward-roger"), "pairwise", adjust = "bonferroni")),
  dunnett = case(whole, list(specs = "Date", control = "S1"),
                 function(m) contrast(emmeans(m, "Date"), "trt.vs.ctrl", ref = 2, adjust = "mvt")),
  dunnett_normal = case(dietox, list(specs = "Cu", control = "Cu000", ddf = "normal", at = list(Time = 4)),
                        function(m) contrast(emmeans(m, "Cu", at = list(Time = 4), lmer.df = "asymptotic"), "trt.vs.ctrl", adjust = "mvt")),
  covariate_mean = case(dietox, list(specs = "Cu"), function(m) emmeans(m, "Cu")),
  covariate_at = case(dietox, list(specs = "Time", by = "Cu", at = list(Time = c(2, 8))),
                      function(m) emmeans(m, "Time", by = "Cu", at = list(Time = c(2, 8)))),
  at_levels = case(dietox, list(specs = "Cu", pairwise = TRUE, adjust = "sidak", at = list(Evit = "Evit100", Time = c(1, 12))),
                   function(m) contrast(emmeans(m, "Cu", at = list(Evit = "Evit100", Time = c(1, 12))), "pairwise", adjust = "sidak")),
  slope_none = case(cake, list(specs = "recipe", pairwise = TRUE, adjust = "none", at = list(temp = 200)),
                    function(m) contrast(emmeans(m, "recipe", at = list(temp = 200)), "pairwise", adjust = "none"))
)
out <- lapply(cases, function(case) {
  data <- read(case$model[[1]], case$model[[2]])
  if (case$model[[3]] == "thinned") data <- thinned(data)
  m <- fit(case$model[[4]], data)
  x <- case$make(m)
  table <- as_table(x, if ("contrast" %in% names(as.data.frame(x))) "estimate" else "emmean")
  c(list(data = case$model[[1]], factors = case$model[[2]], change = case$model[[3]], formula = case$model[[4]],
         args = case$args), table)
})
cat(toJSON(out, digits = NA, auto_unbox = TRUE, pretty = TRUE, na = "null"), "\n")
