# lmList of lme4: coefficients, standard errors and intervals with the pooled residual sd, and each level's own.
# pooledSD leaves weights out: with weights the pooled sd and its intervals are from the weighted sums of squares.
# Run in this folder: Rscript level_fits.R > level_fits.json
suppressMessages({library(lme4); library(jsonlite)})

sleep <- read.csv("../data/sleepstudy.csv")
sleep$row <- seq_len(nrow(sleep))
sleep$Subject <- factor(sleep$Subject)
sleep$w <- 1 + sleep$row %% 3
sleep$k <- factor(c("a", "b")[1 + (sleep$row %/% 2) %% 2])
thin <- sleep[sleep$row %% 7 != 0, ]
thin$Reaction[c(4, 30)] <- NA
orthodont <- read.csv("../data/Orthodont.csv")

cases <- list(
  slope = list("sleepstudy", "Reaction ~ Days | Subject", sleep, NULL, NULL),
  unbalanced = list("sleepstudy, thin", "Reaction ~ Days * k | Subject", thin, NULL, NULL),
  weights = list("sleepstudy, thin", "Reaction ~ Days + I(Days^2) | Subject", thin, "w", NULL),
  offset = list("sleepstudy, thin", "Reaction ~ Days | Subject", thin, "w", "Days"),
  no_intercept = list("sleepstudy", "Reaction ~ 0 + k + Days | Subject", sleep, NULL, NULL),
  orthodont = list("Orthodont", "distance ~ age | Subject", orthodont, NULL, NULL)
)
out <- lapply(cases, function(case) {
  formula <- as.formula(case[[2]]); used <- case[[3]]
  used$weight <- if (is.null(case[[4]])) rep(1, nrow(used)) else used[[case[[4]]]]
  used$known <- if (is.null(case[[5]])) rep(0, nrow(used)) else used[[case[[5]]]]
  assign("used", used, envir = globalenv())
  fit <- eval(call("lmList", formula, quote(used), weights = quote(weight), offset = quote(known)))
  sd <- lme4:::pooledSD(fit)
  se <- t(sapply(fit@.Data, function(f) sqrt(diag(summary(f)$cov.unscaled))))
  ci <- confint(fit, pool = TRUE)
  own <- lapply(fit@.Data, function(f) list(sigma = summary(f)$sigma, df = f$df.residual, n = length(f$residuals),
                                            lower = confint(f)[, 1], p = summary(f)$coefficients[, 4]))
  lower <- lapply(seq_along(names(fit)), function(i) ci[i, 1, ])
  if (!is.null(case[[4]])) {
    df <- sapply(own, `[[`, "df")
    sd <- structure(sqrt(sum(sapply(own, `[[`, "sigma")^2 * df) / sum(df)), df = sum(df))
    lower <- lapply(seq_along(names(fit)), function(i) as.matrix(coef(fit))[i, ] + qt(0.025, sum(df)) * sd * se[i, ])
  }
  list(change = case[[1]], formula = case[[2]], weights = case[[4]], offset = case[[5]], levels = names(fit),
       coef = as.matrix(coef(fit)), unscaled = unname(se), sigma = c(sd), df = attr(sd, "df"),
       lower = lower,
       own_sigma = sapply(own, `[[`, "sigma"), own_df = sapply(own, `[[`, "df"), n = sapply(own, `[[`, "n"),
       own_lower = lapply(own, `[[`, "lower"), own_p = lapply(own, `[[`, "p"))
})
cat(toJSON(out, digits = NA, pretty = TRUE, na = "null"), "\n")
